"""A chunk of tokens that read and write Titans' memory, and its gradient, written out.

After token t the memory is ``W_t = keep_t W + carry_t S - sum_i updates_ti G_i``, a mixture of the weights and the
momentum before the chunk and of the tokens' gradients. It need never be formed in order to be read: what layer l makes
of x is a mixture of ``x W``, ``x S`` and ``(x . a_i) d_i``. Autograd would get the same gradient with several more
passes over all the weights, of which there are thousands of times as many as gates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqmem.layers.memory_gates import Mixture
from seqmem.layers.memory_network import Surprise, curvature, slope, surprise

Weights = tuple[Float[Tensor, "N i o"], ...]


def read_and_step(
    weights: Weights,
    momentum: Weights,
    base: Weights,
    mixed: Mixture,
    q: Float[Tensor, "N c i"],
    k: Float[Tensor, "N c i"],
    v: Float[Tensor, "N c o"],
) -> tuple[Float[Tensor, "N c o"], Weights, Weights]:
    """``M_t(q_t)`` of every token with its own step taken; weights and momentum after the last.

    Args:
        base: where all gradients are taken (equation 16); may be ``weights`` itself, which costs less.
    """
    depth = len(weights)
    apart = () if base is weights else base
    y, *after = _Chunk.apply(depth, q, k, v, *mixed.tensors(), *weights, *momentum, *apart)
    return y, tuple(after[:depth]), tuple(after[depth:])


@dataclass(frozen=True)
class _Reads:
    """Of every layer: inputs x, ``x W``, ``x S``, overlaps ``x . a_i`` and what comes out."""

    inputs: list[Tensor]
    by_weights: list[Tensor]
    by_momentum: list[Tensor]
    overlaps: list[Tensor]
    out: list[Tensor]


def _reads(weights: Sequence[Tensor], momentum: Sequence[Tensor], of: Surprise, mixed: Mixture, q: Tensor) -> _Reads:
    reads = _Reads([q], [], [], [], [])
    for weight, speed, a, d in zip(weights, momentum, of.inputs, of.deltas, strict=True):
        if reads.out:
            reads.inputs.append(torch.nn.functional.silu(reads.out[-1]))
        x = reads.inputs[-1]
        reads.by_weights.append(x @ weight)
        reads.by_momentum.append(x @ speed)
        reads.overlaps.append(x @ a.mT)
        out = mixed.keep[..., None] * reads.by_weights[-1]
        out.addcmul_(mixed.carry[..., None], reads.by_momentum[-1])
        reads.out.append(out.baddbmm_(reads.overlaps[-1] * mixed.updates, d, alpha=-1))
    return reads


class _Chunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, depth: int, *operands: Tensor) -> tuple[Tensor, ...]:
        (q, k, v), mixed, fast = operands[:3], Mixture(*operands[3:8]), operands[8:]
        weights, momentum, base = fast[:depth], fast[depth : 2 * depth], fast[2 * depth :]
        of = surprise(base or weights, k, v)
        reads = _reads(weights, momentum, of, mixed, q)
        after_weights, after_momentum = [], []
        for weight, speed, a, d in zip(weights, momentum, of.inputs, of.deltas, strict=True):
            moved = (weight * mixed.keep[:, -1:, None]).addcmul_(speed, mixed.carry[:, -1:, None])
            after_weights.append(moved.baddbmm_((a * mixed.updates[:, -1, :, None]).mT, d, alpha=-1))
            moved = speed * mixed.last_carry[:, None, None]
            after_momentum.append(moved.baddbmm_((a * mixed.last_updates[..., None]).mT, d, alpha=-1))
        ctx.depth, ctx.of, ctx.reads = depth, of, reads
        ctx.save_for_backward(*operands[3:])
        return reads.out.pop(), *after_weights, *after_momentum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        depth, mixed, fast = ctx.depth, Mixture(*ctx.saved_tensors[:5]), ctx.saved_tensors[5:]
        weights, momentum, base = fast[:depth], fast[depth : 2 * depth], fast[2 * depth :]
        back = _Gradient.of_steps(weights, momentum, mixed, ctx.of, grads[:depth], grads[depth:])
        for_q = back.add_reads(weights, momentum, mixed, ctx.of, ctx.reads, grad)
        at_base: Pairs = [[] for _ in base] or back.pairs
        for_k, for_v = back.add_surprise(base or weights, ctx.of, at_base)
        for_weights = [_add_products(total, pairs) for total, pairs in zip(back.weights, back.pairs, strict=True)]
        for_base = [_products(pairs) for pairs in at_base] if base else []
        return None, for_q, for_k, for_v, *back.gates.tensors(), *for_weights, *back.momentum, *for_base


Pairs = list[list[tuple[Tensor, Tensor]]]


@dataclass
class _Gradient:
    """Gradients as they are added up; a sum of outer products of weights' size stays in factors to the end.

    Args:
        gates: of the mixture.
        inputs: of the tokens' a.
        deltas: of the tokens' d.
        weights: of the weights before the chunk, without ``left^T right`` of the ``pairs``.
        momentum: of the momentum before the chunk.
        pairs: for each layer, left factors ``[N, c, i]`` and right ones ``[N, c, o]``.
    """

    gates: Mixture
    inputs: list[Tensor]
    deltas: list[Tensor]
    weights: list[Tensor]
    momentum: list[Tensor]
    pairs: Pairs

    @classmethod
    def of_steps(
        cls,
        weights: Sequence[Tensor],
        momentum: Sequence[Tensor],
        mixed: Mixture,
        of: Surprise,
        for_weights: Sequence[Tensor],
        for_momentum: Sequence[Tensor],
    ) -> "_Gradient":
        """What gradients of weights and momentum after the chunk are of all before."""
        last, last_updates = mixed.updates[:, -1, :, None], mixed.last_updates[..., None]
        gates = Mixture(*map(torch.zeros_like, mixed.tensors()))
        back = cls(gates, [], [], [], [], [[] for _ in weights])
        for weight, speed, a, d, by_weight, by_speed in zip(
            weights, momentum, of.inputs, of.deltas, for_weights, for_momentum, strict=True
        ):
            gates.keep[:, -1] += _inner(by_weight, weight)
            gates.carry[:, -1] += _inner(by_weight, speed)
            gates.last_carry.add_(_inner(by_speed, speed))
            back.weights.append(by_weight * mixed.keep[:, -1:, None])
            back.momentum.append(
                (by_speed * mixed.last_carry[:, None, None]).addcmul_(by_weight, mixed.carry[:, -1:, None])
            )
            from_weight, from_speed = d @ by_weight.mT, d @ by_speed.mT
            gates.updates[:, -1] -= (a * from_weight).sum(-1)
            gates.last_updates.sub_((a * from_speed).sum(-1))
            back.inputs.append(-(last * from_weight).addcmul_(last_updates, from_speed))
            back.deltas.append(-(last * (a @ by_weight)).addcmul_(last_updates, a @ by_speed))
        return back

    def add_reads(
        self,
        weights: Sequence[Tensor],
        momentum: Sequence[Tensor],
        mixed: Mixture,
        of: Surprise,
        reads: _Reads,
        grad: Tensor,
    ) -> Tensor:
        """Add what the gradient of the tokens' reads comes from; the gradient of the queries."""
        for layer in reversed(range(len(weights))):
            x, a, d, overlaps = reads.inputs[layer], of.inputs[layer], of.deltas[layer], reads.overlaps[layer]
            self.gates.keep.add_((grad * reads.by_weights[layer]).sum(-1))
            self.gates.carry.add_((grad * reads.by_momentum[layer]).sum(-1))
            self.deltas[layer].baddbmm_((overlaps * mixed.updates).mT, grad, alpha=-1)
            for_mixed = -(grad @ d.mT)
            self.gates.updates.addcmul_(for_mixed, overlaps)
            for_overlaps = for_mixed * mixed.updates
            self.inputs[layer].baddbmm_(for_overlaps.mT, x)
            kept, carried = mixed.keep[..., None] * grad, mixed.carry[..., None] * grad
            self.pairs[layer].append((x, kept))
            self.momentum[layer].baddbmm_(x.mT, carried)
            grad = (kept @ weights[layer].mT).baddbmm_(carried, momentum[layer].mT).baddbmm_(for_overlaps, a)
            if layer:
                grad *= slope(reads.out[layer - 1])
        return grad

    def add_surprise(self, base: Sequence[Tensor], of: Surprise, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Add what the gradients of a and d come from, to ``pairs`` for ``base``; the gradients of keys and values."""
        for_slopes = []
        for layer, (z, u) in enumerate(zip(of.hidden, of.arriving, strict=True)):
            for_slopes.append(self.deltas[layer] * u)
            for_arriving = self.deltas[layer] * slope(z)
            self.deltas[layer + 1].baddbmm_(for_arriving, base[layer + 1])
            pairs[layer + 1].append((for_arriving, of.deltas[layer + 1]))
        for_z = 2 * self.deltas[-1]
        for_v = -for_z
        for layer in reversed(range(len(base))):
            pairs[layer].append((of.inputs[layer], for_z))
            self.inputs[layer].baddbmm_(for_z, base[layer].mT)
            if layer:
                z = of.hidden[layer - 1]
                for_z = (self.inputs[layer] * slope(z)).addcmul_(for_slopes[layer - 1], curvature(z))
        return self.inputs[0], for_v


def _inner(x: Tensor, y: Tensor) -> Float[Tensor, "N"]:
    """Sums of products of all elements."""
    return (x.flatten(1)[:, None] @ y.flatten(1)[..., None])[:, 0, 0]


def _factors(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    left, right = zip(*pairs, strict=True)
    return torch.cat(left, 1).mT, torch.cat(right, 1)


def _add_products(total: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    return total.baddbmm_(*_factors(pairs))


def _products(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.bmm(*_factors(pairs))
