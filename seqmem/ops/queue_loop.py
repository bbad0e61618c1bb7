"""Convolutions as queues (Paine et al. 2016, arXiv 1611.09482): generation with a program, in plain PyTorch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.ops import logistics
from seqmem.ops.choice import choose
from seqmem.ops.loop import ConvolutionProgram, GatedLayer, Queues


class QueueLoop:
    """A :class:`seqmem.ops.loop.Loop`, an operation of PyTorch after the other."""

    def __init__(self, program: ConvolutionProgram):
        self._program = program
        self._taps = [layer.gates.transpose(1, 2).flatten(1) for layer in program.layers]

    @torch.no_grad()
    def __call__(
        self,
        queues: Queues,
        token: Int[Tensor, "B"],
        noise: Float[Tensor, "B N 2"],
        temperature: float,
        top_p: float,
        forced: Int[Tensor, "B N"] | None = None,
    ) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
        """See :class:`seqmem.ops.loop.Loop`."""
        tokens, log_probs = [], []
        for turn, uniform in enumerate(noise.unbind(1)):
            output = self._read(queues, token)
            phase = queues.position % self._program.num_phases
            token = self._choice(output, phase, uniform, temperature, top_p) if forced is None else forced[:, turn]
            tokens.append(token)
            log_probs.append(self._log_prob(output, phase, token))
        return torch.stack(tokens, 1), torch.stack(log_probs, 1)

    def _read(self, queues: Queues, token: Tensor) -> Float[Tensor, "B O"]:
        """What the head gives after one more token."""
        program, time = self._program, queues.position
        recent = zip(_with_newest(queues.tokens, token, time, 1), program.first, strict=True)
        x = sum((self._embedded(ids, table) for ids, table in recent), program.first_bias)
        skips = []
        for layer, taps, ring in zip(program.layers, self._taps, queues.layers, strict=True):
            x, skip = self._through(layer, taps, _with_newest(ring, x, time, layer.dilation))
            skips.append(skip)
        queues.position += 1
        return program.head(program.hidden(torch.stack(skips).sum(0).relu()).relu())

    def _embedded(self, ids: Int[Tensor, "B"], table: Float[Tensor, "V C"]) -> Float[Tensor, "B C"]:
        if self._program.kind == "softmax":
            return F.embedding(ids, table)
        return logistics.value(ids, self._program.num_classes, table.dtype)[:, None] * table

    def _through(self, layer: GatedLayer, taps: Tensor, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The next layer's input and the skip, of the layer's inputs at its taps."""
        filters, gates = (F.linear(torch.cat(inputs, 1), taps) + layer.bias).chunk(2, 1)
        z = filters.tanh() * gates.sigmoid()
        return inputs[-1] if layer.out is None else inputs[-1] + layer.out(z), layer.skip(z)

    def _choice(self, output: Tensor, phase: int, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
        if self._program.kind == "logistic-mixture":
            return logistics.draw(output, self._program.num_classes, uniform, temperature, top_p)
        ids = self._ids(phase)
        return ids.start + choose(output[:, ids], uniform[:, 0], temperature, top_p)

    def _log_prob(self, output: Tensor, phase: int, token: Tensor) -> Tensor:
        if self._program.kind == "logistic-mixture":
            return logistics.log_prob(output, token, self._program.num_classes)
        ids = self._ids(phase)
        return output[:, ids].log_softmax(1).gather(1, token[:, None] - ids.start)[:, 0]

    def _ids(self, phase: int) -> slice:
        count = self._program.num_classes // self._program.num_phases
        return slice(phase * count, (phase + 1) * count)


def _with_newest(ring: Tensor, newest: Tensor, time: int, dilation: int) -> list[Tensor]:
    """Entries of ``ring [B, P, ...]`` at the distances P, P - dilation, ..., 0 from ``time``; the newest joins it."""
    size = ring.shape[1]
    entries = [ring[:, (time - distance) % size].clone() for distance in range(size, 0, -dilation)]
    if size:
        ring[:, time % size] = newest
    return [*entries, newest]
