"""Keys that a pattern names, taken out of all keys and laid side by side."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqmem.ops.backend import Attention
from seqmem.ops.pattern import Blocks, Gather


@dataclass(frozen=True)
class NamedKeys:
    """Keys that some queries may see, side by side: ``k [B, G, H, D]``, ``v [B, G, H, E]``.

    Args:
        index: position of each among all keys, int64 ``[B, 1 or H, G]``; None where they are all keys in order.
        seen: which of them each query sees, bool broadcastable to ``[B, H, T, G]``; None where all are.
    """

    k: Tensor
    v: Tensor
    index: Tensor | None
    seen: Tensor | None

    @classmethod
    def of(cls, call: Attention) -> "NamedKeys":
        pattern, valid = call.pattern, call.valid
        if isinstance(pattern, Blocks):
            seen = pattern.to_mask(call.q.shape[1], call.k.shape[1], call.q.device)[None]
            return cls(call.k, call.v, None, seen if valid is None else seen & valid[:, None, None])
        if not isinstance(pattern, Gather):
            return cls(call.k, call.v, None, None if valid is None else valid[:, None, None])
        index = pattern.index if pattern.valid is None else pattern.index.where(pattern.valid, 0)
        index = index if index.dim() == 3 else index[:, None]
        seen = pattern.visible(call.q.shape[1], call.k.shape[1])
        if valid is not None:
            named = valid[:, None].expand(-1, index.shape[1], -1).gather(2, index)
            seen = seen & named[:, :, None]
        return cls(picked(call.k, index), picked(call.v, index), index, seen)

    def seen_by(self, queries: slice) -> "NamedKeys":
        """The same for some of the queries."""
        if self.seen is None or self.seen.shape[2] == 1:
            return self
        return replace(self, seen=self.seen[:, :, queries])


def picked(keys: Tensor, index: Tensor) -> Tensor:
    """Pick ``index [#B, 1 or H, G]`` out of ``keys [B, S, H, D]``: ``[B, G, H, D]``, heads first in memory."""
    rows = keys.reshape(-1, keys.shape[3]).index_select(0, _rows(index, keys))
    return rows.view(keys.shape[0], keys.shape[2], -1, keys.shape[3]).transpose(1, 2)


def add_to_picked(total: Tensor, index: Tensor, part: Tensor) -> None:
    """Add ``part [B, G, H, D]`` to what :func:`picked` would pick out of ``total [B, S, H, D]``, contiguous."""
    rows = _rows(index, total)[:, None].expand(-1, total.shape[3])
    total.view(-1, total.shape[3]).scatter_add_(0, rows, part.transpose(1, 2).reshape(-1, total.shape[3]))


def _rows(index: Tensor, keys: Tensor) -> Tensor:
    """``index [#B, 1 or H, G]`` as rows of ``keys [B * S * H, D]``, in the order ``[B, H, G]``."""
    batch_size, num_keys, num_heads, _ = keys.shape
    first = torch.arange(batch_size, device=keys.device)[:, None, None] * num_keys
    head = torch.arange(num_heads, device=keys.device)[:, None]
    return ((first + index) * num_heads + head).flatten()
