"""Linformer's attention to a fixed number of mixtures of keys and values (Wang et al. 2020, arXiv 2006.04768)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.encoder_attention import EncoderAttention
from seqmem.ops import Dense, Ops
from seqmem.ops.dropout import dropping

Projection = Literal["linear", "conv", "mean", "max"]


class TimeProjection(nn.Module):
    """Tokens to slots, ``[B, T, H, D] -> [B, S, H, D]``, and which slots hold anything, ``[B, S]``.

    ``linear`` is a matrix over time, for each head or for all; shorter texts take its first columns. The others
    take ``stride`` neighbours to a slot: ``conv`` with learned weights for every channel, ``mean`` or ``max``. Padding
    is left out of all of them.

    Args:
        num_matrices: heads, or 1.
    """

    def __init__(self, kind: Projection, max_len: int, num_slots: int, num_matrices: int, width: int):
        super().__init__()
        self.kind, self.stride = kind, max_len // num_slots
        self.matrix = nn.Parameter(torch.empty(num_matrices, num_slots, max_len)) if kind == "linear" else None
        self.taps = nn.Parameter(torch.empty(self.stride, width)) if kind == "conv" else None

    def reset_parameters(self) -> None:
        """A matrix N(0, 1 / slots), as in the theorem; a convolution's taps like a mean."""
        if self.matrix is not None:
            nn.init.normal_(self.matrix, 0, self.matrix.shape[1] ** -0.5)
        if self.taps is not None:
            nn.init.constant_(self.taps, 1 / self.stride)

    def forward(
        self, x: Float[Tensor, "B T H D"], valid: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B S H D"], Bool[Tensor, "B S"] | None]:
        cleared = x.masked_fill(~valid[..., None, None], 0)
        if self.matrix is not None:
            matrix = self.matrix[:, :, : x.shape[1]].expand(x.shape[2], -1, -1)
            return torch.einsum("hst,bthd->bshd", matrix, cleared), None
        short = -x.shape[1] % self.stride
        blocks = F.pad(cleared, (0, 0, 0, 0, 0, short)).unflatten(1, (-1, self.stride))
        counted = F.pad(valid, (0, short)).unflatten(1, (-1, self.stride))
        return self._pooled(blocks, counted), counted.any(2)

    def _pooled(
        self, blocks: Float[Tensor, "B S stride H D"], counted: Bool[Tensor, "B S stride"]
    ) -> Float[Tensor, "B S H D"]:
        if self.taps is not None:
            return torch.einsum("bsnhd,nhd->bshd", blocks, self.taps.unflatten(1, blocks.shape[3:]))
        if self.kind == "mean":
            return blocks.sum(2) / counted.sum(2).clamp(min=1)[..., None, None]
        largest = blocks.masked_fill(~counted[..., None, None], -torch.inf).amax(2)
        return largest.masked_fill(~counted.any(2)[..., None, None], 0)


class LowRankAttention(EncoderAttention):
    """Every token sees all slots: ``softmax(Q (E K)' / sqrt(D)) F V``.

    Args:
        keys: E; every call brings it where absent.
        values: F; E where absent.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        keys: TimeProjection | None,
        values: TimeProjection | None,
        dropout: float,
        ops: Ops,
    ) -> None:
        super().__init__(d_model, num_heads, dropout, ops)
        self.keys, self.values = keys, values

    def attended(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: TimeProjection | None
    ) -> Float[Tensor, "B T H D"]:
        counted = x.new_ones(x.shape[:2], dtype=torch.bool) if valid is None else valid
        of_keys = self.keys or seen
        assert of_keys is not None
        q, k, v = self.projected(x)
        k, slots = of_keys(k, counted)
        v, _ = (self.values or of_keys)(v, counted)
        return self.ops.attend(q, k, v, Dense(), valid=slots, **dropping(self.dropout, self.training, x.device))[0]
