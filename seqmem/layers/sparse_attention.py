"""Factorised attention of the Sparse Transformer (Child et al. 2019, arXiv 1904.10509), its parts merged in a head."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqmem.layers.past_attention import PastAttention
from seqmem.ops import Band, Blocks, Ops, merge


class StridedAttention(PastAttention):
    """A token sees the ``stride`` tokens up to itself, and every ``stride``-th before those.

    Args:
        context: tokens that the past may have, and all that are ever seen.
    """

    def __init__(
        self, d_model: int, num_heads: int, head_dim: int, stride: int, context: int, dropout: float, ops: Ops
    ) -> None:
        super().__init__(d_model, num_heads, head_dim, dropout, ops)
        self.reach, self.stride = context - 1, stride
        self.near, self.far = Band(stride - 1), Band((context - 1) // stride, 0, stride)

    def attended(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H D"],
        relative: Tensor,
        **options: Any,
    ) -> Float[Tensor, "B T H D"]:
        others = q.new_zeros(1, 1, 1, self.far.num_columns)
        others[..., -1] = -torch.inf
        parts = [
            self.ops.attend(q, k, v, self.near, **options),
            self.ops.attend(q, k, v, self.far, bias=others, **options),
        ]
        return merge(parts)[0]


class FixedAttention(PastAttention):
    """A token sees its own block of ``stride`` tokens up to itself, and a summary of every block before.

    A block's summary are ``summary`` of its tokens: the last ones for one head, those before them for the next, and so
    on over ``num_summaries`` such pieces, then the last ones again.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        head_dim: int,
        stride: int,
        summary: int,
        num_summaries: int,
        context: int,
        dropout: float,
        ops: Ops,
    ) -> None:
        super().__init__(d_model, num_heads, head_dim, dropout, ops)
        self.reach, self.size = context - 1, summary
        self.layout = fixed_layout(num_heads, stride // summary, num_summaries, -(-context // summary))

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
    """Which of ``num_pieces`` pieces of the text a piece sees, with ``pieces`` to a block."""
    piece = np.arange(num_pieces)
    same_block = piece[:, None] // pieces == piece // pieces
    from_end = pieces - 1 - piece % pieces
    chosen = np.arange(num_heads)[:, None] % num_summaries == from_end
    return (same_block | chosen[:, None]) & (piece <= piece[:, None])
