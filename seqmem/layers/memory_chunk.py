"""A chunk of tokens that read and write Titans' memory, and its gradient, written out.

After token t the memory is ``W_t = keep_t W + carry_t S - sum_i updates_ti G_i``, a mixture of the weights and the
momentum before the chunk and of the tokens' gradients. It need never be formed in order to be read: with W standing
above S, what layer l makes of x is a product of ``[keep_t x, carry_t x]`` and a mixture of ``(x . a_i) d_i``. Autograd
would get the same gradient with several more passes over all the weights, of which there are thousands of times as
many as gates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqmem.layers.memory_gates import Mixture
from seqmem.layers.memory_network import Surprise, add_calm, curvature, slope, surprise

Weights = tuple[Float[Tensor, "N i o"], ...]
Pairs = tuple[Float[Tensor, "N 2 i o"], ...]


def read_and_step(
    pairs: Pairs,
    base: Weights,
    mixed: Mixture,
    q: Float[Tensor, "N c i"],
    k: Float[Tensor, "N c i"],
    v: Float[Tensor, "N c o"],
) -> tuple[Float[Tensor, "N c o"], Pairs]:
    """``M_t(q_t)`` of every token with its own step taken; weights and momentum after the last.

    Args:
        pairs: weights and momentum of every layer.
        base: where all gradients are taken (equation 16); empty for the weights themselves, which costs less.
    """
    y, *after = _Chunk.apply(len(pairs), q, k, v, *mixed.tensors(), *pairs, *base)
    return y, tuple(after)


@dataclass(frozen=True)
class _Reads:
    """Of every layer: inputs x, overlaps ``x . a_i`` and what comes out."""

    inputs: list[Tensor]
    overlaps: list[Tensor]
    out: list[Tensor]


def _reads(pairs: Sequence[Tensor], of: Surprise, mixed: Mixture, q: Tensor) -> _Reads:
    reads = _Reads([q], [], [])
    for pair, a, d in zip(pairs, of.inputs, of.steps, strict=True):
        if reads.out:
            reads.inputs.append(torch.nn.functional.silu(reads.out[-1]))
        x = reads.inputs[-1]
        reads.overlaps.append(x @ a.mT)
        out = _twice(x, mixed.shares) @ pair.flatten(1, 2)
        reads.out.append(out.baddbmm_(reads.overlaps[-1] * mixed.updates, d, alpha=-1))
    return reads


class _Chunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, depth: int, *operands: Tensor) -> tuple[Tensor, ...]:
        (q, k, v), mixed, pairs, base = (
            operands[:3],
            Mixture(*operands[3:7]),
            operands[7 : 7 + depth],
            operands[7 + depth :],
        )
        of = surprise(base or _weights(pairs), k, v)
        reads = _reads(pairs, of, mixed, q)
        after = []
        for pair, a, d in zip(pairs, of.inputs, of.steps, strict=True):
            moved = torch.bmm(mixed.move, pair.flatten(2)).view_as(pair)
            moved.flatten(1, 2).baddbmm_(_twice(a, mixed.last_updates).mT, d, alpha=-1)
            after.append(moved)
        ctx.depth, ctx.of, ctx.reads = depth, of, reads
        ctx.save_for_backward(*operands[3:])
        return reads.out.pop(), *after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        mixed, pairs, base = (
            Mixture(*ctx.saved_tensors[:4]),
            ctx.saved_tensors[4:][: ctx.depth],
            ctx.saved_tensors[4 + ctx.depth :],
        )
        back = _Gradient.of_steps(pairs, mixed, ctx.of, grads)
        for_q = back.add_reads(pairs, mixed, ctx.of, ctx.reads, grad)
        for_base = tuple(map(torch.zeros_like, base))
        for_k, for_v = back.add_surprise(base or _weights(pairs), ctx.of, for_base or _weights(back.pairs))
        return None, for_q, for_k, for_v, *back.gates.tensors(), *back.pairs, *for_base


@dataclass
class _Gradient:
    """Gradients as they are added up.

    Args:
        gates: of the mixture.
        inputs: of the tokens' a.
        deltas: of the tokens' d, at first of their steps.
        pairs: of weights and momentum before the chunk.
    """

    gates: Mixture
    inputs: list[Tensor]
    deltas: list[Tensor]
    pairs: list[Tensor]

    @classmethod
    def of_steps(cls, pairs: Sequence[Tensor], mixed: Mixture, of: Surprise, grads: Sequence[Tensor]) -> "_Gradient":
        """What gradients of weights and momentum after the chunk are of all before."""
        back = cls(Mixture(*map(torch.zeros_like, mixed.tensors())), [], [], [])
        for pair, a, d, grad in zip(pairs, of.inputs, of.steps, grads, strict=True):
            back.gates.move.baddbmm_(grad.flatten(2), pair.flatten(2).mT)
            back.pairs.append(torch.bmm(mixed.move.mT, grad.flatten(2)).view_as(pair))
            for_twice = (d @ grad.flatten(1, 2).mT).unflatten(2, (2, -1)).neg_()
            back.gates.last_updates.add_((for_twice * a[:, :, None]).sum(-1).mT)
            back.inputs.append(_mixed(for_twice, mixed.last_updates))
            back.deltas.append((_twice(a, mixed.last_updates) @ grad.flatten(1, 2)).neg_())
        return back

    def add_reads(self, pairs: Sequence[Tensor], mixed: Mixture, of: Surprise, reads: _Reads, grad: Tensor) -> Tensor:
        """Add what the gradient of the tokens' reads comes from; the gradient of the queries."""
        steps = of.steps
        for layer in reversed(range(len(pairs))):
            x, a, d, overlaps = reads.inputs[layer], of.inputs[layer], steps[layer], reads.overlaps[layer]
            self.deltas[layer].baddbmm_((overlaps * mixed.updates).mT, grad, alpha=-1)
            for_mixed = -(grad @ d.mT)
            self.gates.updates.addcmul_(for_mixed, overlaps)
            for_overlaps = for_mixed * mixed.updates
            self.inputs[layer].baddbmm_(for_overlaps.mT, x)
            self.pairs[layer].flatten(1, 2).baddbmm_(_twice(x, mixed.shares).mT, grad)
            for_twice = (grad @ pairs[layer].flatten(1, 2).mT).unflatten(2, (2, -1))
            self.gates.shares.add_((for_twice * x[:, :, None]).sum(-1).mT)
            grad = _mixed(for_twice, mixed.shares).baddbmm_(for_overlaps, a)
            if layer:
                grad *= slope(reads.out[layer - 1])
        return grad

    def add_surprise(self, base: Sequence[Tensor], of: Surprise, for_base: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Add what the gradients of a and d come from, also to ``for_base``; the gradients of keys and values."""
        add_calm(of, self.inputs, self.deltas)
        for_slopes = []
        for layer, (z, u) in enumerate(zip(of.hidden, of.arriving, strict=True)):
            for_slopes.append(self.deltas[layer] * u)
            for_arriving = self.deltas[layer] * slope(z)
            self.deltas[layer + 1].baddbmm_(for_arriving, base[layer + 1])
            for_base[layer + 1].baddbmm_(for_arriving.mT, of.deltas[layer + 1])
        for_z = 2 * self.deltas[-1]
        for_v = -for_z
        for layer in reversed(range(len(base))):
            for_base[layer].baddbmm_(of.inputs[layer].mT, for_z)
            self.inputs[layer].baddbmm_(for_z, base[layer].mT)
            if layer:
                z = of.hidden[layer - 1]
                for_z = (self.inputs[layer] * slope(z)).addcmul_(for_slopes[layer - 1], curvature(z))
        return self.inputs[0], for_v


def _weights(pairs: Sequence[Tensor]) -> Weights:
    return tuple(pair[:, 0] for pair in pairs)


def _twice(x: Float[Tensor, "N c i"], shares: Float[Tensor, "N 2 c"]) -> Float[Tensor, "N c j"]:
    """Inputs of weights and of momentum, each with its share, side by side: j = 2 i."""
    return (shares.mT[..., None] * x[:, :, None]).flatten(2)


def _mixed(by_half: Float[Tensor, "N c 2 i"], shares: Float[Tensor, "N 2 c"]) -> Float[Tensor, "N c i"]:
    """Both halves, each with its share, added."""
    weights, momentum = by_half.unbind(2)
    kept, carried = shares[..., None].unbind(1)
    return (kept * weights).addcmul_(carried, momentum)
