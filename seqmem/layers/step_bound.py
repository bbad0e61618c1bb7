"""A bound on the steps that a memory takes for the keys of a chunk: however they are alike, they never overshoot."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

BOUND = 2.4
"""In steps of one key: the most that all of a chunk take together, in any direction."""

MOST_CROWDED = 1e6


def crowding(
    keys: Float[Tensor, "B H T D"], open_keys: Float[Tensor, "B H u D"], of_open: Float[Tensor, "B H u"], chunk_len: int
) -> Float[Tensor, "B H T"]:
    """By how much a key's step must be divided, for the sake of the keys before it in its chunk.

    ``k' (1 - A / L)^-1 k`` with ``A = sum k_i k_i' / crowding_i`` over the keys before and L = :data:`BOUND`: 1 for a
    key that is orthogonal to them, 0.5 for one that is 0. A stays below L in every direction: with A < L, A + s k k' is
    too just when ``s k' (L - A)^-1 k < 1``, and for s = 1 / crowding that is 1 / L. The steps of a key that comes for
    ever fall by ``1 - 1 / L`` each.

    Args:
        keys: new ones, of length 1 or 0.
        open_keys: those of the chunk that the first new key belongs to.
        of_open: their crowding.
        chunk_len: tokens of a chunk.
    """
    rest = min((chunk_len - open_keys.shape[2]) % chunk_len, keys.shape[2])
    first, whole = keys[:, :, :rest], keys[:, :, rest:]
    size = max(1, min(chunk_len, whole.shape[2]))
    chunks = F.pad(whole, (0, 0, 0, -whole.shape[2] % size)).unflatten(2, (-1, size))
    by_chunk = _crowding(chunks @ chunks.mT).flatten(2)[:, :, : whole.shape[2]]
    return torch.cat([_crowding(_resolved(first, open_keys, of_open)), by_chunk], 2)


def _resolved(keys: Tensor, before: Tensor, of_before: Tensor) -> Float[Tensor, "B H t t"]:
    """``K (1 - A / L)^-1 K'`` for the keys before: ``K K' + K B' (L diag(crowding) - B B')^-1 B K'`` (Woodbury)."""
    weights = torch.where(of_before < MOST_CROWDED, of_before, 1e30)
    gap = torch.diag_embed(BOUND * weights) - before @ before.mT
    crossed = before @ keys.mT
    return keys @ keys.mT + crossed.mT @ torch.linalg.solve(gap, crossed)


def _crowding(overlaps: Float[Tensor, "... c c"]) -> Float[Tensor, "... c"]:
    return _Crowding.apply(overlaps.flatten(0, -3)).view(overlaps.shape[:-1])


class _Crowding(torch.autograd.Function):
    """Of Gram matrices ``[N, c, c]``, of which the lower half is read.

    By Sherman and Morrison's formula every key adds a matrix of rank one to ``K (1 - A / L)^-1 K'``; their columns are
    those of a Cholesky factorization whose signs are a sum's. Keys beyond :data:`MOST_CROWDED`, whose steps are as good
    as 0, are not added, which keeps numbers finite.
    """

    @staticmethod
    def forward(ctx: Any, overlaps: Tensor) -> Tensor:
        factor, crowding = torch.zeros_like(overlaps), overlaps.new_empty(overlaps.shape[:2])
        scales = torch.empty_like(crowding)
        for t in range(overlaps.shape[1]):
            column = torch.baddbmm(overlaps[:, t:, t, None], factor[:, t:, :t], factor[:, t, :t, None])[..., 0]
            own = column[:, 0].clamp(min=0.5)
            scale = torch.where(own < MOST_CROWDED, (own * (BOUND - 1)).rsqrt(), 0)
            crowding[:, t], scales[:, t], factor[:, t:, t] = own, scale, column * scale[:, None]
        ctx.save_for_backward(factor, scales, crowding)
        return crowding

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        factor, scales, crowding = ctx.saved_tensors
        for_factor, for_overlaps = torch.zeros_like(factor), torch.zeros_like(factor)
        for t in reversed(range(factor.shape[1])):
            column, of_column = for_overlaps[:, t:, t], for_factor[:, t:, t]
            column.copy_(of_column * scales[:, t, None])
            column[:, 0] += grad[:, t] - (of_column * factor[:, t:, t]).sum(1) / (2 * crowding[:, t])
            for_factor[:, t:, :t].baddbmm_(column[..., None], factor[:, t, None, :t])
            for_factor[:, t, :t] += (column[:, None] @ factor[:, t:, :t])[:, 0]
        return for_overlaps
