"""Strided attention of the Sparse Transformer (Child et al. 2019, arXiv 1904.10509), its parts merged in a head."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seqmem.layers.past_attention import PastAttention
from seqmem.ops import Band, Ops, merge


class StridedAttention(PastAttention):
    """A token sees the ``stride`` tokens up to itself, and every ``stride``-th before those.

    Args:
        context: tokens that the past may have, and all that are ever seen.
    """

    def __init__(
        self, d_model: int, num_heads: int, head_dim: int, stride: int, context: int, dropout: float, ops: Ops
    ) -> None:
        super().__init__(d_model, num_heads, head_dim, dropout, ops)
        self.reach = context - 1
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
