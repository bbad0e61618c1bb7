"""One token of generation, described plainly enough for a backend to compile, and the step most backends build of it.

A model hands over a :class:`StepProgram`, its layers as weights, and :class:`StepBuffers`, its state with room for the
tokens to come. A backend that offers ``compile_step(program) -> Step`` gives back a function from a token's vector to
its hidden state, which writes what it adds to the state in place. Nothing in a program refers to a model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.ops.backend import Attention
from seqmem.ops.pattern import Band


@dataclass(frozen=True)
class Affine:
    """``x W^T + b``, with ``weight [out, in]``."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, "out"] | None = None

    @classmethod
    def of(cls, layer: nn.Linear) -> "Affine":
        """The weights of ``layer``, shared."""
        return cls(layer.weight, layer.bias)

    def for_few_rows(self) -> "Affine":
        """The same, on a CPU with a copy of the matrix that lies in memory as products with a few rows read it."""
        in_order = self.weight.t().contiguous().t() if self.weight.device.type == "cpu" else self.weight
        return Affine(in_order, self.bias)

    def __call__(self, x: Float[Tensor, "B in"]) -> Float[Tensor, "B out"]:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Norm:
    """Layer normalisation of ``[..., d]``."""

    weight: Float[Tensor, "d"]
    bias: Float[Tensor, "d"]
    eps: float

    @classmethod
    def of(cls, layer: nn.LayerNorm) -> "Norm":
        """The weights of ``layer``, shared."""
        return cls(layer.weight, layer.bias, layer.eps)

    def __call__(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return torch.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class Distances:
    """Relative positions: ``scores = scale * ((q + u) . k + (q + v) . r)``, r farthest first, the token itself last."""

    r: Float[Tensor, "N H D"]
    u: Float[Tensor, "H D"]
    v: Float[Tensor, "H D"]


@dataclass(frozen=True)
class AttentionLayer:
    """A transformer's layer: attention, then Linear, ReLU, Linear, each with a residual and a norm.

    Args:
        qkv: queries, keys and values side by side, ``[3 * H * D, d]``.
        heads: H and D.
        num_keys: keys that a token sees at most, itself included.
        pre_norm: ``x + f(norm(x))`` instead of ``norm(x + f(x))``.
        shortcuts: what ``x`` is multiplied by before attention and before feed-forward are added; None for 1.
    """

    qkv: Affine
    out: Affine
    inner: Affine
    outer: Affine
    attention_norm: Norm
    feed_forward_norm: Norm
    heads: tuple[int, int]
    num_keys: int
    pre_norm: bool
    distances: Distances | None = None
    shortcuts: tuple[Float[Tensor, "d"] | None, Float[Tensor, "d"] | None] = (None, None)

    def __call__(
        self, x: Float[Tensor, "B d"], attended: Callable[[Float[Tensor, "B 3HD"]], Float[Tensor, "B HD"]]
    ) -> Float[Tensor, "B d"]:
        """The next layer's input.

        Args:
            attended: from the token's query, key and value to what its heads see; the key and value join the state.
        """
        around_attention, around_feed_forward = self.shortcuts
        seen = self.out(attended(self.qkv(self.attention_norm(x) if self.pre_norm else x)))
        x = seen + (x if around_attention is None else x * around_attention)
        if self.pre_norm:
            return x + self.outer(self.inner(self.feed_forward_norm(x)).relu_())
        x = self.attention_norm(x)
        found = self.outer(self.inner(x).relu_())
        return self.feed_forward_norm(found + (x if around_feed_forward is None else x * around_feed_forward))


@dataclass(frozen=True)
class StepProgram:
    """What leads from a token's vector to its hidden state."""

    layers: tuple[AttentionLayer, ...]
    final_norm: Norm | None = None

    @property
    def like(self) -> Tensor:
        """A weight, for dtype and device."""
        return self.layers[0].qkv.weight


@dataclass
class StepBuffers:
    """State with room: for each layer columns, one a key or a token and oldest first, the last ``room`` still unused.

    Args:
        keys_values: ``[B, N, 2, H, D]``; N may differ from layer to layer.
        valid: which columns take part, None for all; a layer's unused ones are on.
        inputs: of the layer ``[B, M, d]``, for a model that will ask for them; None where it will not.
        room: tokens that can still come. Every step uses one column of every buffer.
    """

    keys_values: Sequence[Float[Tensor, "B N 2 H D"]]
    valid: Sequence[Bool[Tensor, "B N"] | None]
    inputs: Sequence[Float[Tensor, "B M d"] | None]
    room: int


Step = Callable[[Tensor, StepBuffers], Tensor]
"""``step(x [B, d], buffers) -> hidden [B, d]``, called with ``buffers.room > 0`` and without gradient."""


class AttendingStep:
    """A program run layer by layer, the attention of each one call of a backend's fused kernel.

    Args:
        attend: :meth:`AttentionBackend.attend`, called directly: no dispatch, no checks, no autograd.
    """

    def __init__(self, program: StepProgram, attend: Callable[[Attention], tuple[Tensor, Tensor]]):
        self.layers = [_for_few_rows(layer) for layer in program.layers]
        self.final_norm = program.final_norm
        self.attend = attend

    def __call__(self, x: Float[Tensor, "B d"], buffers: StepBuffers) -> Float[Tensor, "B d"]:
        state = zip(buffers.keys_values, buffers.valid, buffers.inputs, strict=True)
        for layer, (keys_values, valid, inputs) in zip(self.layers, state, strict=True):
            if inputs is not None:
                inputs[:, -buffers.room] = x
            x = layer(x, partial(self._attended, layer, keys_values, valid, keys_values.shape[1] - buffers.room))
        buffers.room -= 1
        return x if self.final_norm is None else self.final_norm(x)

    def _attended(
        self, layer: AttentionLayer, keys_values: Tensor, valid: Tensor | None, column: int, projected: Tensor
    ) -> Tensor:
        """What the token sees; its key and value are put into ``column``."""
        q, keys_values[:, column] = projected.unflatten(1, (3, *layer.heads)).split((1, 2), 1)
        seen = slice(max(0, column + 1 - layer.num_keys), column + 1)
        k, v = keys_values[:, seen].unbind(2)
        num_keys, scale = k.shape[1], layer.heads[1] ** -0.5
        qr = r = None
        if layer.distances is not None:
            r = layer.distances.r[-num_keys:]
            q, qr = q + layer.distances.u, q + layer.distances.v
        valid = None if valid is None else valid[:, seen]
        call = Attention(q, k, v, Band(num_keys - 1), scale, qr=qr, r=r, valid=valid)
        return self.attend(call)[0].flatten(1)


def _for_few_rows(layer: AttentionLayer) -> AttentionLayer:
    products = {name: getattr(layer, name).for_few_rows() for name in ("qkv", "out", "inner", "outer")}
    return replace(layer, **products)
