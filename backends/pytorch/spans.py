"""How a band is cut into dense pieces.

A span is a chunk of queries and all keys its rows touch. Its dense score (a, b) belongs to band column
``c = b - a + shift``, so what lives on columns can be laid out ``[.., n, n + m - 1]`` with one diagonal a column, and
read as the dense ``[.., n, m]`` through strides that step one column back with each row: Transformer-XL's relative
shift without the copy. n queries and m keys in the span.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from seqmem.ops.pattern import Band


@dataclass(frozen=True)
class Span:
    """Which queries and keys a tile has, as slices that step by the dilation, and its column shift."""

    queries: slice
    keys: slice
    shift: int
    num_queries: int
    num_keys: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.num_queries, self.num_keys, self.shift

    @property
    def num_diagonals(self) -> int:
        return self.num_queries + self.num_keys - 1

    def columns(self, num_columns: int) -> slice:
        """The band's columns among the span's diagonals."""
        first = self.shift - (self.num_queries - 1)
        return slice(max(first, 0), min(first + self.num_diagonals, num_columns))

    def inside(self, num_columns: int) -> slice:
        """The diagonals that are columns of the band."""
        first = self.shift - (self.num_queries - 1)
        columns = self.columns(num_columns)
        return slice(columns.start - first, columns.stop - first)


def spans(band: Band, num_queries: int, num_keys: int, chunk: int) -> Iterator[Span]:
    """Cut a band into spans of ``chunk`` queries; positions of one residue modulo the dilation form a dense sequence.

    Every query is in exactly one span, together with every key it sees.
    """
    d = band.dilation
    memory = num_keys - num_queries
    for residue in range(min(d, num_queries)):
        for first in range(residue, num_queries, chunk * d):
            queries = slice(first, min(first + chunk * d, num_queries), d)
            n = len(range(queries.start, queries.stop, d))
            position = memory + first
            low = position - min(band.left, position // d) * d
            last = position + (n - 1) * d
            high = last + min(band.right, (num_keys - 1 - last) // d) * d
            shift = band.left - (position - low) // d
            yield Span(queries, slice(low, high + 1, d), shift, n, (high - low) // d + 1)


def as_dense(diagonals: Tensor, num_keys: int) -> Tensor:
    """View diagonals ``[.., n, diagonals]`` (last axis contiguous) as the dense ``[.., n, m]`` they run through.

    With fewer than ``n + m - 1`` diagonals, what lies beyond the last one is read from, and written to, the beginning
    of the next row, which belongs to keys before the span's first.
    """
    *lead, n, _ = diagonals.shape
    *lead_strides, row, _ = diagonals.stride()
    return diagonals.as_strided((*lead, n, num_keys), (*lead_strides, row - 1, 1), diagonals.storage_offset() + n - 1)
