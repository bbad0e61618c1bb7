"""Fused attention along a band, tile by tile: a chunk of queries times all keys its rows touch, as dense GEMMs.

Suffixes as in :mod:`seqmem.ops.blockwise` and :mod:`.spans`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from seqmem.ops.backend import Attention, accumulation_dtype
from seqmem.ops.blockwise import GradientSums, MatmulBlock, Workspace
from seqmem.ops.pattern import Band

from .spans import Span, as_dense, spans

TILE_QUERIES = 128
TILE_ELEMENTS = 1 << 19


def tiles(call: Attention) -> Iterator["Tile"]:
    """All tiles of a call on a Band, small enough for their scores to stay in the cache."""
    assert isinstance(call.pattern, Band)
    batch_size, num_queries, num_heads = call.q.shape[:3]
    shared = Shared(call)
    for span in spans(call.pattern, num_queries, call.k.shape[1], TILE_QUERIES):
        rows = max(1, TILE_ELEMENTS // (num_heads * span.num_queries * span.num_keys))
        for start in range(0, batch_size, rows):
            yield Tile(call, slice(start, min(start + rows, batch_size)), span, shared)


class Shared:
    """What the tiles of a call have in common: scratch memory, and per shape of span the mask and the slice of r."""

    def __init__(self, call: Attention):
        assert isinstance(call.pattern, Band)
        self.workspace = Workspace()
        self.num_columns = call.pattern.num_columns
        self.is_causal = call.pattern.right == 0
        self.dtype = accumulation_dtype(call.q.dtype)
        self.device = call.q.device
        self.r = None if call.r is None else call.r.to(self.dtype)
        self._masks: dict[tuple[int, int, int], Tensor] = {}
        self._r_windows: dict[tuple[int, int, int], Tensor] = {}

    def mask(self, span: Span) -> Tensor:
        """0 inside the band and -inf outside, ``[n, m]``."""
        if span.shape not in self._masks:
            column = torch.arange(span.num_keys, device=self.device) + span.shift
            column = column - torch.arange(span.num_queries, device=self.device)[:, None]
            outside = (column < 0) | (column >= self.num_columns)
            mask = torch.zeros(outside.shape, dtype=self.dtype, device=self.device)
            self._masks[span.shape] = mask.masked_fill_(outside, -torch.inf)
        return self._masks[span.shape]

    def num_diagonals(self, span: Span) -> int:
        """Diagonals to lay out: in a causal band no more than one beyond the last query's keys.

        What :func:`as_dense` then reads of the next row is masked as the future, and what it writes there is 0.
        """
        return min(span.num_diagonals, span.num_keys + 1) if self.is_causal else span.num_diagonals

    def r_window(self, span: Span) -> Tensor:
        """The rows of r on the tile's diagonals, ``[H, diagonals, D]``, 0 where the band has no such column."""
        if span.shape not in self._r_windows:
            assert self.r is not None
            window = self.r.new_zeros(self.r.shape[1], self.num_diagonals(span), self.r.shape[2])
            window[:, span.inside(self.num_columns)] = self.r[span.columns(self.num_columns)].transpose(0, 1)
            self._r_windows[span.shape] = window
        return self._r_windows[span.shape]


class Tile(MatmulBlock):
    """One span of some batch rows."""

    def __init__(self, call: Attention, rows: slice, span: Span, shared: Shared):
        k, v = call.k[rows, span.keys], call.v[rows, span.keys]
        super().__init__(call, rows, span.queries, k, v, shared.workspace)
        self.span = span
        self.shared = shared

    def initial_scores(self, scratch: Tensor) -> Tensor:
        call, mask = self.call, self.shared.mask(self.span)
        if call.r is None and call.bias is None and call.valid is None:
            return mask.expand_as(scratch)
        if call.r is None and call.bias is None:
            scratch.copy_(mask)
        else:
            torch.add(as_dense(self.diagonals(), self.span.num_keys), mask, out=scratch)
        if call.valid is not None:
            off = ~call.valid[self.rows, self.span.keys]
            self.columns_last(scratch).masked_fill_(off[:, None, None], -torch.inf)
        return scratch

    def diagonals(self) -> Tensor:
        """``scale * qr.r + bias``, a diagonal a column: ``[b * H, n, diagonals]``."""
        scratch = self.diagonals_scratch()
        if self.call.r is None:
            scratch.zero_()
        else:
            torch.bmm(self.qr(), self.r_window().mT, out=scratch)
        if self.call.bias is not None:
            inside = self.columns_last(scratch)[..., self.span.inside(self.shared.num_columns)]
            inside += self.bias_part(self.call.bias)[..., self.span.columns(self.shared.num_columns)]
        return scratch

    def add_initial_gradients(self, into: GradientSums, dscores: Tensor) -> None:
        if into.r is None and into.bias is None:
            return
        diagonals = self.diagonals_scratch().zero_()
        as_dense(diagonals, self.span.num_keys).copy_(dscores)
        inside = self.span.inside(self.shared.num_columns)
        columns = self.span.columns(self.shared.num_columns)
        if into.bias is not None:
            target = self.bias_part(into.bias)[..., columns]
            target += self.columns_last(diagonals)[..., inside].sum_to_size(target.shape)
        if into.r is not None and into.qr is not None:
            dqr = torch.bmm(diagonals, self.r_window()).mul_(self.call.scale)
            into.qr[self.rows, self.queries] = self.columns_last(dqr)
            dr = torch.bmm(diagonals.mT, self.qr()).unflatten(0, (-1, into.r.shape[1])).sum(0)
            into.r[columns] += dr[:, inside].transpose(0, 1)

    def add_to_keys(self, total: Tensor, part: Tensor) -> None:
        total[self.rows, self.span.keys] += part

    def key_positions(self) -> Tensor:
        return torch.arange(self.call.k.shape[1], device=self.k.device)[self.span.keys]

    def qr(self) -> Tensor:
        assert self.call.qr is not None
        part = self.call.qr[self.rows, self.queries].to(self.dtype) * self.call.scale
        return part.transpose(1, 2).flatten(0, 1)

    def r_window(self) -> Tensor:
        window = self.shared.r_window(self.span)
        return window.expand(self.q.shape[0] // window.shape[0], *window.shape).flatten(0, 1)

    def diagonals_scratch(self) -> Tensor:
        shape = (self.q.shape[0], self.span.num_queries, self.shared.num_diagonals(self.span))
        return self.workspace.take("diagonals", shape, self.q)
