"""A whole stretch of generation, described plainly enough for a backend to compile: layers, head and the choice itself.

A model of dilated convolutions hands over a :class:`ConvolutionProgram`. A backend that offers ``compile_loop(program)
-> Loop`` gives back a function that draws token after token without returning to Python in between, and moves the
model's queues on in place. Nothing in a program refers to a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from seqmem.ops.step import Affine


@dataclass(frozen=True)
class GatedLayer:
    """A layer of WaveNet (van den Oord et al. 2016, section 2.3).

    ``f, g = gates(x)``, a causal convolution with dilation; ``z = tanh(f) * sigmoid(g)``; ``x + out(z)`` goes to the
    next layer, ``skip(z)`` to the head.

    Args:
        gates: ``[2 * G, C, K]``, filters before gates; tap K - 1 is the present, tap 0 the farthest past.
        bias: of the gates ``[1, 2 * G]``, or ``[B, 2 * G]`` where streams are conditioned each on its own.
        out: ``[C, G]``; None in a last layer whose output nobody reads.
        skip: ``[S, G]``; one bias for the sum of all skips is the first layer's.
    """

    gates: Float[Tensor, "2G C K"]
    bias: Float[Tensor, "#B 2G"]
    dilation: int
    out: Affine | None
    skip: Affine


@dataclass(frozen=True)
class ConvolutionProgram:
    """From a token to the choice of the next.

    Args:
        first: what a token adds to the first layer's input: ``[K, V, C]`` by its distance (tap K - 1 is the present)
            and its id. With ``kind = "logistic-mixture"`` it is ``[K, 1, C]``, to be multiplied by the token's value.
        first_bias: ``[C]``.
        layers: in order.
        hidden: ``relu(hidden(relu(sum of skips)))`` is what the head reads.
        head: ``[V, S]`` logits of the classes; or ``[3 * M, S]``: logits, means and log-scales of M logistics.
        kind: of distribution: ``"softmax"``; or ``"logistic-mixture"`` as :mod:`seqmem.ops.logistics` has it, where ids
            are V levels of values -1 ... 1.
        num_classes: V.
        num_phases: tokens of one kind alternate with those of the next; tokens at ``position % num_phases == p`` are
            among the ids ``p * V / num_phases ... (p + 1) * V / num_phases - 1``.
    """

    first: Float[Tensor, "K V C"]
    first_bias: Float[Tensor, "C"]
    layers: tuple[GatedLayer, ...]
    hidden: Affine
    head: Affine
    kind: Literal["softmax", "logistic-mixture"]
    num_classes: int
    num_phases: int = 1

    @property
    def like(self) -> Tensor:
        """A weight, for dtype and device."""
        return self.head.weight


@dataclass
class Queues:
    """The past that the next token will meet, as rings that a loop moves on in place.

    Args:
        tokens: the last K - 1 ids read by the first convolution, a ring: the one read at time t lies at
            ``t % (K - 1)``, ``[B, K - 1]`` int64. All are ids, whatever stood before the first token.
        layers: inputs of each layer, rings likewise: ``[B, (K - 1) * dilation, C]``.
        position: tokens read so far, the time t of the next.
    """

    tokens: Int[Tensor, "B P"]
    layers: Sequence[Float[Tensor, "B P C"]]
    position: int


class Loop(Protocol):
    """Reads a token, chooses the next, reads that, and so on."""

    def __call__(
        self,
        queues: Queues,
        token: Int[Tensor, "B"],
        noise: Float[Tensor, "B N 2"],
        temperature: float,
        top_p: float,
        forced: Int[Tensor, "B N"] | None = None,
    ) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
        """Choose N tokens a stream.

        A class is chosen as :func:`seqmem.ops.choice.choose` does, among those of the phase; a level of a mixture as
        :func:`seqmem.ops.logistics.draw` does.

        Args:
            queues: moved on by N tokens, in place.
            token: the last known one, not read yet.
            noise: uniform in (0, 1): the first chooses among classes or logistics, the second within a logistic.
            temperature: see those functions.
            top_p: likewise.
            forced: take these instead of choosing.

        Returns:
            The tokens, and the natural logarithm of the probability that the model itself (temperature 1, top_p 1,
            all classes of the phase) gave to each.
        """
