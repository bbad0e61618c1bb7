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
Pairs = tuple[Float[Tensor, "B H 2 i o"], ...]


@dataclass(frozen=True)
class FastWeights(State):
    """A memory of every sequence and head, in float32 (float64 for float64).

    Args:
        pairs: of each layer of the network its weights and their momentum, the surprise of the past.
        base: weights at the start of the unfinished chunk, ``[B, H, i, o]``, where its gradients are taken.
        position: tokens since the start of that chunk.
    """

    pairs: Pairs
    base: Weights
    position: int

    @classmethod
    def fresh(cls, weights: Weights) -> "FastWeights":
        """A memory that has seen nothing yet."""
        pairs = tuple(torch.stack([weight, torch.zeros_like(weight)], 2) for weight in weights)
        return cls(pairs, weights, 0)

    @property
    def weights(self) -> Weights:
        """Of each layer, ``[B, H, i, o]``."""
        return tuple(pair[:, :, 0] for pair in self.pairs)

    @property
    def momentum(self) -> Weights:
        """Likewise."""
        return tuple(pair[:, :, 1] for pair in self.pairs)

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
    cuts = pieces(memory.position, k.shape[2], chunk_len)
    lengths = [cut.stop - cut.start for cut in cuts]
    tokens = zip(*(part.flatten(0, 1).split(lengths, 1) for part in (q, k, v)), strict=True)
    shape, outs = k.shape[:2], []
    for cut, qkv, mixed in zip(cuts, tokens, mixtures(ops, gates, cuts), strict=True):
        pairs, base = (tuple(part.flatten(0, 1) for part in parts) for parts in (memory.pairs, memory.base))
        y, after = read_and_step(pairs, base if memory.position else (), mixed, *qkv)
        outs.append(y)
        position = memory.position + cut.stop - cut.start
        memory = replace(memory, pairs=tuple(pair.unflatten(0, shape) for pair in after), position=position)
        memory = memory.at_border() if position == chunk_len else memory
    return torch.cat(outs, 1).unflatten(0, shape), memory


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
