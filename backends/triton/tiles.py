"""Tile sizes and launch options of the kernels: a record, and the table of tuned ones that ships."""

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
        queries, keys: of a tile, powers of two from 16 up.
        warps: of a program, 32 threads each.
        stages: of the pipeline that loads tiles ahead.
    """

    queries: int
    keys: int
    warps: int
    stages: int


@cache
def tiles_for(kernel: str, item_bytes: int, width: int, has_positions: bool) -> Tiles:
    """The tuned tiles nearest to a width of keys, by their ratio; of two as near those of the wider, which take less.

    Args:
        kernel: its name.
        item_bytes: of a number in the operands, 2 or 4.
        width: the larger one of keys and values, padded.
        has_positions: relative positions are among the operands.
    """
    wanted = (kernel, item_bytes, has_positions)
    entries = [entry for entry in table() if (entry["kernel"], entry["item_bytes"], entry["positions"]) == wanted]
    nearest = min(entries, key=lambda entry: (abs(log2(entry["width"] / width)), -entry["width"]))
    return Tiles(*(nearest[name] for name in ("queries", "keys", "warps", "stages")))


@cache
def table() -> list[dict]:
    """The rows of ``tuned.json``."""
    return json.loads(TABLE.read_text())
