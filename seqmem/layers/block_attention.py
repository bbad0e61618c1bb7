"""Causal self-attention by whole blocks, and layouts that papers give blocks."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqmem.layers.past_attention import PastAttention
from seqmem.ops import Blocks, Ops


class BlockAttention(PastAttention):
    """A token sees the blocks that ``layout`` gives its own block, up to itself.

    Args:
        layout: as :class:`seqmem.ops.Blocks` has it, counted from where the past begins.
        size: tokens of a block.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        head_dim: int,
        layout: Bool[np.ndarray, "H n n"],
        size: int,
        dropout: float,
        ops: Ops,
    ) -> None:
        super().__init__(d_model, num_heads, head_dim, dropout, ops)
        self.layout, self.size = layout, size
        self.reach = layout.shape[1] * size - 1

    def attended(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H D"],
        relative: Tensor,
        **options: Any,
    ) -> Float[Tensor, "B T H D"]:
        pattern = Blocks(torch.from_numpy(self.layout).to(q.device), self.size, causal=True)
        return self.ops.attend(q, k, v, pattern, **options)[0]


def fixed_layout(num_heads: int, pieces: int, num_summaries: int, num_pieces: int) -> Bool[np.ndarray, "H n n"]:
    """The Sparse Transformer's fixed pattern (Child et al. 2019): its own block and a summary of every one before.

    A block is ``pieces`` pieces long, of which one is its summary: the last one for the first head, the one before that
    for the next, and so on over ``num_summaries``, then the last one again. The layout is of pieces.
    """
    piece = np.arange(num_pieces)
    same_block = piece[:, None] // pieces == piece // pieces
    from_end = pieces - 1 - piece % pieces
    chosen = np.arange(num_heads)[:, None] % num_summaries == from_end
    return (same_block | chosen[:, None]) & (piece <= piece[:, None])


@lru_cache(maxsize=2048)
def bigbird_layout(num_heads: int, num_blocks: int, num_random: int, seed: int) -> Bool[np.ndarray, "H n n"]:
    """BigBird's pattern (Zaheer et al. 2020) for an encoder, of a text of at least three blocks.

    A block sees itself and its two neighbours, the first and the last one, and ``num_random`` of the others; the first
    and the last one see everything. As in the published code the second block never draws the second-last one, nor that
    the second; that code draws from the first part of a text only, and this from all of it.
    """
    block = np.arange(num_blocks)
    ends = (block == 0) | (block == num_blocks - 1)
    seen = (np.abs(block - block[:, None]) <= 1) | ends | ends[:, None]
    legal = np.ones_like(seen)
    legal[[1, -2], [-2, 1]] = False
    return _with_random(seen, legal, num_heads, num_random, seed)


def causal_bigbird_layout(num_heads: int, num_blocks: int, num_random: int, seed: int) -> Bool[np.ndarray, "H n n"]:
    """BigBird's pattern (Zaheer et al. 2020) for a decoder, which is ours: what of it lies in the past.

    A block sees itself and the one before, the first one, and ``num_random`` of the others, if there are so many.
    """
    block = np.arange(num_blocks)
    behind = block[:, None] - block
    seen = (behind >= 0) & ((behind <= 1) | (block == 0))
    return _with_random(seen, behind >= 0, num_heads, num_random, seed)


def _with_random(
    seen: Bool[np.ndarray, "n n"], legal: Bool[np.ndarray, "n n"], num_heads: int, num_random: int, seed: int
) -> Bool[np.ndarray, "H n n"]:
    """What is seen, and in every row ``num_random`` of the other legal blocks, drawn anew for every head."""
    rng = np.random.default_rng(seed)
    layout = np.repeat(seen[None], num_heads, 0)
    for head in range(num_heads):
        for row, others in enumerate(legal & ~seen):
            layout[head, row, rng.permutation(np.flatnonzero(others))[:num_random]] = True
    return layout
