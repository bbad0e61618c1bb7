"""Weights that learn while they are read, in chunks: what Titans' long-term memory carries and how it moves."""

from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from seqmem.layers.memory_chunk import read_and_step
from seqmem.layers.memory_gates import Gates, Mixture, mixture
from seqmem.ops import Ops
from seqmem.state import State

Weights = tuple[Float[Tensor, "B H i o"], ...]


@dataclass(frozen=True)
class FastWeights(State):
    """A memory of every sequence and head, in float32 (float64 for float64).

    Args:
        weights: of each layer of the network, ``[B, H, i, o]``.
        momentum: likewise, the surprise of the past.
        base: weights at the start of the unfinished chunk, where its gradients are taken.
        position: tokens since the start of that chunk.
    """

    weights: Weights
    momentum: Weights
    base: Weights
    position: int

    @classmethod
    def fresh(cls, weights: Weights) -> "FastWeights":
        """A memory that has seen nothing yet."""
        return cls(weights, tuple(map(torch.zeros_like, weights)), weights, 0)

    def at_border(self) -> "FastWeights":
        """The same memory, its unfinished chunk ended."""
        return replace(self, base=self.weights, position=0)


def read_and_write(
    ops: Ops,
    memory: FastWeights,
    q: Float[Tensor, "B H T i"],
    k: Float[Tensor, "B H T i"],
    v: Float[Tensor, "B H T o"],
    gates: Gates,
    chunk_len: int,
) -> tuple[Float[Tensor, "B H T o"], FastWeights]:
    """``M_t(q_t)`` for every token, its own update included, and the memory after all.

    Gradients are taken at the weights of the start of a chunk of ``chunk_len`` tokens, counted from the first token
    ever seen (equation 16); with ``chunk_len = 1`` the recurrence is exact. A call may begin and end anywhere.
    """
    shape = memory.weights[0].shape[:2]
    q, k, v = (part.flatten(0, 1) for part in (q, k, v))
    weights, momentum = flat(memory.weights), flat(memory.momentum)
    base = flat(memory.base) if memory.position else weights
    cuts = pieces(memory.position, k.shape[1], chunk_len)
    outs = []
    for tokens, mixed in zip(cuts, mixtures(ops, gates, cuts), strict=True):
        y, weights, momentum = read_and_step(weights, momentum, base, mixed, q[:, tokens], k[:, tokens], v[:, tokens])
        position = (memory.position + tokens.stop) % chunk_len
        base = base if position else weights
        outs.append(y)

    def by_head(flat: Weights) -> Weights:
        return tuple(weight.unflatten(0, shape) for weight in flat)

    return torch.cat(outs, 1).unflatten(0, shape), FastWeights(
        by_head(weights), by_head(momentum), by_head(base), position
    )


def flat(weights: Weights) -> Weights:
    """Sequences and heads as one axis."""
    return tuple(weight.flatten(0, 1) for weight in weights)


def mixtures(ops: Ops, gates: Gates, cuts: list[slice]) -> list[Mixture]:
    """Of every piece; pieces of one length that follow each other are computed together."""
    result: list[Mixture] = []
    for length, same in groupby(cuts, lambda cut: cut.stop - cut.start):
        run = list(same)
        chunked = gates[slice(run[0].start, run[-1].stop)].chunked(length)
        parts = (part.unbind(1) for part in mixture(ops, chunked).tensors())
        result += map(Mixture, *parts)
    return result


def pieces(position: int, length: int, chunk_len: int) -> list[slice]:
    """Where ``length`` tokens, the first at ``position`` of a chunk, are cut so that no piece crosses a border."""
    borders = [0, *range(chunk_len - position, length, chunk_len), length]
    return [slice(start, stop) for start, stop in pairwise(borders)]
