"""Exact attention over a union of disjoint key sets: the composition rule of the toolkit."""

import os
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.ops.backend import accumulation_dtype
from seqmem.ops.pattern import Pattern

Part = tuple[Float[Tensor, "B T H E"], Float[Tensor, "B T H"]]


def merge(parts: Sequence[Part], patterns: Sequence[Pattern] | None = None, num_keys: int | None = None) -> Part:
    """Combine attention over parts of the keys into attention over all of them.

    Args:
        parts: ``(out [B, T, H, E], lse [B, T, H])`` of each part, as :meth:`Ops.attend` gives them. No key may be in
            two parts.
        patterns: the parts' patterns, where all parts share one axis of keys. With ``SEQMEM_DEBUG=1`` in the
            environment they are checked to be disjoint.
        num_keys: length S of that axis.

    Returns:
        ``(out, lse)`` of the union, computed in float32 (float64 for float64); a query without keys in any part gives
        0 and -inf, and gradients of exactly 0.

    Raises:
        SeqmemError: no parts, or patterns that overlap.
    """
    if not parts:
        raise SeqmemError("merge got no parts; give at least one (out, lse)")
    if patterns is not None and num_keys is not None and os.environ.get("SEQMEM_DEBUG") == "1":
        check_disjoint(patterns, parts[0][0].shape[1], num_keys)
    dtype = accumulation_dtype(parts[0][1].dtype)
    lses = torch.stack([lse.to(dtype) for _, lse in parts])
    empty = lses == -torch.inf
    top = lses.detach().amax(0)
    top = top.masked_fill(top == -torch.inf, 0)
    # An empty part's lse is replaced before exp, not after, or its gradient would be 0 * inf.
    weights = (lses.masked_fill(empty, 0) - top).exp().masked_fill(empty, 0)
    total = weights.sum(0)
    nothing = total == 0
    share = weights / total.masked_fill(nothing, 1)
    out = sum(part.to(dtype) * weight[..., None] for (part, _), weight in zip(parts, share, strict=True))
    lse = (top + total.masked_fill(nothing, 1).log()).masked_fill(nothing, -torch.inf)
    return out.to(parts[0][0].dtype), lse


def check_disjoint(patterns: Sequence[Pattern], num_queries: int, num_keys: int) -> None:
    """Raise SeqmemError if some query sees some key through two of the patterns."""
    masks = [_four_axes(pattern.to_mask(num_queries, num_keys, "cpu")).long() for pattern in patterns]
    total = sum(masks)
    if (total > 1).any():  # type: ignore[union-attr]
        _, _, query, key = (total > 1).nonzero()[0].tolist()  # type: ignore[union-attr]
        raise SeqmemError(f"merge: key {key} is in two parts for query {query}; parts must be disjoint: {patterns}")


def _four_axes(mask: Tensor) -> Tensor:
    return mask[(None,) * (4 - mask.dim())]
