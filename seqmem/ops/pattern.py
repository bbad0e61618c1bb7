"""Which keys a query sees: small frozen records, each defined by its ``to_mask``.

Queries line up with the end of the keys: query i of T stands at key position ``p_i = i + S - T``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqmem.errors import SeqmemError

Extent = Any
"""An integer, or a tuple with one a head. Typed loosely because only Ops sees tuples: it gives backends integers."""


@dataclass(frozen=True)
class Band:
    """A window along the diagonal: column c of ``left + right + 1`` is key ``p_i + (c - left) * dilation``.

    ``left`` and ``right`` count neighbours and exclude self: a causal window of w tokens is ``Band(w - 1)``. Each of
    the three may be a tuple with one value a head; such a band has the columns of its :meth:`hull`, of which a head
    uses its own part, aligned at self.
    """

    left: Extent
    right: Extent = 0
    dilation: Extent = 1

    def __post_init__(self):
        lengths = {len(value) for value in (self.left, self.right, self.dilation) if isinstance(value, tuple)}
        if len(lengths) > 1:
            raise SeqmemError(f"{self}: per-head tuples differ in length; give one value a head in each")
        for name, least in (("left", 0), ("right", 0), ("dilation", 1)):
            value = getattr(self, name)
            if min(value if isinstance(value, tuple) else (value,)) < least:
                raise SeqmemError(f"{self}: {name} must be at least {least}")

    @property
    def per_head(self) -> bool:
        return any(isinstance(value, tuple) for value in (self.left, self.right, self.dilation))

    @property
    def num_columns(self) -> int:
        hull = self.hull()
        return hull.left + hull.right + 1

    def hull(self) -> "Band":
        """The smallest band of plain integers whose columns contain every head's (its dilation means nothing)."""
        if not self.per_head:
            return self
        left, right = (value if isinstance(value, tuple) else (value,) for value in (self.left, self.right))
        return Band(max(left), max(right))

    def of_heads(self, num_heads: int) -> list["Band"]:
        """One band of plain integers a head."""
        columns = []
        for value in (self.left, self.right, self.dilation):
            if isinstance(value, tuple) and len(value) != num_heads:
                raise SeqmemError(f"{self} has {len(value)} values for {num_heads} heads; give one a head")
            columns.append(value if isinstance(value, tuple) else (value,) * num_heads)
        return [Band(*values) for values in zip(*columns, strict=True)]

    def offsets(self, device: torch.device | str | None = None) -> Tensor:
        """Key position minus query position of every column, ``[C]`` (integers only)."""
        return (torch.arange(self.left + self.right + 1, device=device) - self.left) * self.dilation

    def columns_inside(self, num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
        """Which columns name an existing key, bool ``[T, C]`` (integers only)."""
        position = torch.arange(num_queries, device=device) + num_keys - num_queries
        key = position[:, None] + self.offsets(device)
        return (key >= 0) & (key < num_keys)

    def to_mask(self, num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
        """Bool ``[T, S]``, or ``[H, T, S]`` where a field is per head."""
        if self.per_head:
            num_heads = max(len(v) for v in (self.left, self.right, self.dilation) if isinstance(v, tuple))
            return torch.stack([band.to_mask(num_queries, num_keys, device) for band in self.of_heads(num_heads)])
        position = torch.arange(num_queries, device=device) + num_keys - num_queries
        distance = torch.arange(num_keys, device=device) - position[:, None]
        near = (distance >= -self.left * self.dilation) & (distance <= self.right * self.dilation)
        return near & (distance % self.dilation == 0)


@dataclass(frozen=True)
class Dense:
    """Every query sees every valid key; T and S are unrelated."""

    def to_mask(self, num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
        """Bool ``[T, S]``, all true."""
        return torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)


@dataclass(frozen=True, eq=False)
class Gather:
    """The named keys, ``index`` int64 ``[B, G]`` or ``[B, H, G]``, distinct within a row where ``valid``.

    Args:
        index: key positions in ``[0, S)``; entries switched off by ``valid`` may hold anything.
        valid: bool of ``index``'s shape; all true when absent.
        causal: keep only keys at or before the query's position.
    """

    index: Tensor
    valid: Tensor | None = None
    causal: bool = False

    def __post_init__(self):
        if self.index.dtype != torch.int64 or self.index.dim() not in (2, 3):
            raise SeqmemError(
                f"Gather index is {self.index.dtype} {list(self.index.shape)}; give int64 [B, G] or [B, H, G]"
            )
        if self.valid is not None and (self.valid.dtype != torch.bool or self.valid.shape != self.index.shape):
            raise SeqmemError(
                f"Gather valid is {self.valid.dtype} {list(self.valid.shape)}; give bool of index's shape"
            )

    def visible(self, num_queries: int, num_keys: int) -> Tensor:
        """Which named keys each query sees, bool ``[B, 1 or H, T, G]``."""
        index = self.index if self.index.dim() == 3 else self.index[:, None]
        shape = (index.shape[0], index.shape[1], num_queries, index.shape[2])
        seen = torch.ones(shape, dtype=torch.bool, device=index.device)
        if self.valid is not None:
            seen &= (self.valid if self.valid.dim() == 3 else self.valid[:, None])[:, :, None]
        if self.causal:
            position = torch.arange(num_queries, device=index.device) + num_keys - num_queries
            seen &= index[:, :, None] <= position[:, None]
        return seen

    def to_mask(self, num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
        """Bool ``[B, 1 or H, T, S]``."""
        seen = self.visible(num_queries, num_keys).to(device)
        index = (self.index if self.index.dim() == 3 else self.index[:, None])[:, :, None].expand(seen.shape).to(device)
        counts = torch.zeros(*seen.shape[:3], num_keys, dtype=torch.int64, device=index.device)
        return counts.scatter_add_(3, index.where(seen, 0), seen.long()) > 0


@dataclass(frozen=True, eq=False)
class Blocks:
    """Whole blocks of keys for whole blocks of queries, both counted by position: key j is in block ``j // size``.

    Args:
        layout: bool ``[H, n, n]``, or ``[1, n, n]`` for all heads alike; row a has the blocks of keys that queries at
            the positions of block a see. n blocks cover at least S positions.
        size: positions of a block.
        causal: of those, keep only keys at or before the query's position.
    """

    layout: Tensor
    size: int
    causal: bool = False

    def __post_init__(self):
        shape = list(self.layout.shape)
        if self.layout.dtype != torch.bool or len(shape) != 3 or shape[1] != shape[2]:
            raise SeqmemError(f"Blocks layout is {self.layout.dtype} {shape}; give bool [H, n, n] or [1, n, n]")
        if self.size < 1:
            raise SeqmemError(f"Blocks size is {self.size}; give at least 1")

    def to_mask(self, num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
        """Bool ``[1 or H, T, S]``."""
        key = torch.arange(num_keys, device=device)
        position = key[num_keys - num_queries :]
        mask = self.layout.to(device)[:, (position // self.size)[:, None], key // self.size]
        return mask & (key <= position[:, None]) if self.causal else mask


Pattern = Band | Dense | Gather | Blocks


@dataclass(frozen=True)
class HeadGroup:
    """Heads that share one band of integers, and the columns of the hull that are theirs."""

    band: Band
    heads: slice | Sequence[int]
    columns: slice


def head_groups(band: Band, num_heads: int) -> list[HeadGroup]:
    """Split a per-head band into groups of equal bands; evenly spaced heads become slices, so they stay views."""
    hull = band.hull()
    members: dict[Band, list[int]] = {}
    for head, own in enumerate(band.of_heads(num_heads)):
        members.setdefault(own, []).append(head)
    return [
        HeadGroup(own, _as_slice(heads), slice(hull.left - own.left, hull.left + own.right + 1))
        for own, heads in members.items()
    ]


def _as_slice(heads: list[int]) -> slice | list[int]:
    step = heads[1] - heads[0] if len(heads) > 1 else 1
    return slice(heads[0], heads[-1] + 1, step) if heads == list(range(heads[0], heads[-1] + 1, step)) else heads
