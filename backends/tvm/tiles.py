"""Tile sizes of the CPU kernels: a record, and the table of tuned ones that ships."""

import json
from dataclasses import dataclass
from functools import cache
from math import log2
from pathlib import Path

TABLE = Path(__file__).with_name("tuned.json")


@dataclass(frozen=True)
class Tiles:
    """How a kernel cuts its work.

    Args:
        rows: rows of the register tile.
        vectors: vectors in a row of the register tile; ``rows * vectors`` sums stay in registers.
        queries: queries of a cache block, a multiple of ``rows``.
        keys: keys of a cache block, a multiple of the register tile's width.
    """

    rows: int
    vectors: int
    queries: int
    keys: int


UNTUNED = {
    "avx512": Tiles(12, 2, 24, 128),
    "avx2": Tiles(6, 2, 24, 128),
    "neon": Tiles(8, 2, 24, 128),
    "generic": Tiles(4, 2, 24, 128),
}
"""Where nothing was measured: what the number of vector registers allows (32, 16, 32, 16)."""


@cache
def tiles_for(isa: str, dtype: str, width: int, window: int) -> Tiles:
    """The tuned tiles nearest to a width of keys and a window, by their ratios; untuned ones for another machine."""
    width, window = max(1, width), max(1, window)
    entries = [entry for entry in _table() if (entry["isa"], entry["dtype"]) == (isa, dtype)]
    if not entries:
        return UNTUNED[isa]
    nearest = min(entries, key=lambda entry: abs(log2(entry["width"] / width)) + abs(log2(entry["window"] / window)))
    return Tiles(*(nearest[name] for name in ("rows", "vectors", "queries", "keys")))


@cache
def _table() -> list[dict]:
    return json.loads(TABLE.read_text()) if TABLE.exists() else []
