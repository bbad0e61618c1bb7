"""How documents are gone through once, in rows or in windows that overlap; only a segment is copied at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import islice
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from seqmem.data.documents import FILLING, Documents, Laid


class Read(NamedTuple):
    """What is read of every row at a time.

    Args:
        inputs, targets: ``[B, T]`` int64; targets are the inputs one token later.
        scored: ``[B, T]`` bool, which targets count: not filling, nor what begins a document.
        begins: ``[B]`` bool, rows whose first input begins a document.
        places: ``[B, T]`` of targets in ``documents.tokens``.
    """

    inputs: Tensor
    targets: Tensor
    scored: Tensor
    begins: Tensor
    places: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows of laid documents, read side by side.

    Attributes:
        first, last: places of each row's first input and last target, ``[B]``.
    """

    laid: Laid
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def end_to_end(cls, documents: Documents, batch_size: int) -> Self:
        """All tokens in order, in equal parts."""
        row_len = -(-(len(documents.tokens) - 1) // batch_size)
        first = np.arange(batch_size) * row_len
        return cls(Laid(documents), first, np.minimum(first + row_len, len(documents.tokens) - 1))

    @classmethod
    def by_document(cls, documents: Documents, batch_size: int, period: int) -> Self:
        """Whole documents, each of which begins at a multiple of ``period``; rows about equally long."""
        members: list[list[int]] = [[] for _ in range(min(batch_size, len(documents)))]
        rows = [(0, row) for row in range(len(members))]
        heapify(rows)
        room = -(-documents.sizes // period) * period
        for number in np.argsort(-documents.sizes, kind="stable").tolist():
            taken, row = rows[0]
            members[row].append(number)
            heapreplace(rows, (taken + int(room[number]), row))
        order = np.array([number for row in members for number in sorted(row)], dtype=np.int64)
        counts = np.array([len(row) for row in members], dtype=np.int64)
        ends = np.cumsum(counts)
        laid = Laid(documents, period, order)
        last = laid.begins + documents.sizes[order] - 1
        return cls(laid, laid.begins[ends - counts], last[ends - 1])

    def __len__(self) -> int:
        return len(self.first)

    def segments(self, segment_len: int) -> Iterator[Read]:
        """All rows, T tokens at a time: ``segment_len``, less in the last one; rows that end early are filled up."""
        documents, row_len = self.laid.documents, int(max(self.last - self.first, default=0))
        for start in range(0, row_len, segment_len):
            places = self.first[:, None] + np.arange(start, min(start + segment_len, row_len) + 1)
            source = np.where(places > self.last[:, None], FILLING, self.laid.source(places))
            yield _read(documents, source, self.laid.is_begin(places[:, 0]))


def overlapping_windows(
    documents: Documents, batch_size: int, context: int, stride: int, *, by_document: bool = False
) -> Iterator[Read]:
    """Windows of ``context`` targets, each ``stride`` after the one before, of which only what is new is scored.

    Every token but the first is scored exactly once, and all but the first ``context`` after at least
    ``context - stride`` others.

    Args:
        batch_size: windows side by side.
        by_document: each document has windows of its own; otherwise they cross from one to the next.

    Yields:
        B windows, less in the last ones; T is that of the longest of them.
    """
    windows = _windows(documents, context, stride, by_document)
    while some := list(islice(windows, batch_size)):
        first, last, scored_before = np.array(some).T[..., None]
        places = first + np.arange((last - first).max() + 1)
        begins = documents.preceding(first[:, 0]) == -len(documents.bos_ids)
        read = _read(documents, np.where(places > last, FILLING, places), begins)
        yield read._replace(scored=read.scored & torch.from_numpy(read.places > scored_before))


def _windows(documents: Documents, context: int, stride: int, by_document: bool) -> Iterator[tuple[int, int, int]]:
    """Places of a window's first input and last target, and up to where targets were scored before."""
    starts, whole = documents.starts, [(0, len(documents.tokens))]
    spans = zip(starts.tolist(), (starts + documents.sizes).tolist(), strict=True) if by_document else whole
    for start, end in spans:
        before = start
        while before < end - 1:
            last = min(before + (stride if before > start else context), end - 1)
            yield max(last - context, start), last, before
            before = last


def _read(documents: Documents, source: np.ndarray, begins: np.ndarray) -> Read:
    window, places = torch.from_numpy(documents.read(source)), source[:, 1:]
    scored = documents.scored(places)
    return Read(window[:, :-1], window[:, 1:], torch.from_numpy(scored), torch.from_numpy(begins), places)
