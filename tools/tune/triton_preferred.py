"""Tiles of the Triton kernels in the order in which to try them where nothing can be measured."""

from seqmem.backends.triton.tiles import Tiles
from triton_rows import Key

Preferred = dict[int, list[tuple[int, int, int, int]]]
"""By width: queries, keys, warps and stages, what promises most first."""

PLAIN: dict[str, Preferred] = {
    "attend": {
        64: [(128, 64, 8, 3), (128, 64, 4, 3), (64, 64, 4, 3)],
        128: [(128, 64, 8, 3), (128, 64, 8, 2), (128, 32, 8, 3), (64, 64, 4, 2)],
        256: [(128, 32, 8, 2), (64, 64, 8, 2), (64, 32, 4, 2), (64, 32, 8, 2)],
    },
    "attend_queries": {
        64: [(128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2)],
        128: [(128, 64, 8, 2), (64, 64, 8, 2), (64, 32, 4, 2), (64, 32, 8, 2)],
        256: [(64, 32, 8, 2), (32, 32, 4, 1)],
    },
    "attend_keys": {
        64: [(64, 128, 8, 2), (64, 64, 4, 2), (64, 64, 8, 2)],
        128: [(64, 128, 8, 2), (32, 128, 8, 2), (64, 64, 8, 2), (32, 64, 4, 2)],
        256: [(32, 64, 8, 2), (32, 64, 8, 1), (32, 32, 4, 1), (32, 32, 8, 1)],
    },
    "attend_columns": {
        64: [(64, 64, 8, 2), (64, 64, 4, 1), (32, 32, 4, 2)],
        128: [(64, 64, 8, 1), (32, 32, 4, 1), (32, 32, 8, 1)],
        256: [(32, 32, 8, 1), (16, 16, 4, 1)],
    },
    "attend_bias": {
        64: [(64, 64, 8, 2), (64, 64, 4, 2)],
        128: [(64, 64, 8, 2), (32, 32, 4, 2)],
        256: [(32, 32, 8, 1)],
    },
}
POSITIONED: Preferred = {
    64: [(64, 64, 8, 2), (64, 64, 4, 2), (32, 32, 4, 2)],
    128: [(64, 64, 8, 2), (64, 64, 8, 1), (32, 32, 4, 2), (32, 32, 8, 1)],
    256: [(32, 32, 8, 1), (16, 16, 4, 1)],
}
FLOATS: Preferred = {
    64: [(64, 32, 8, 2), (32, 32, 4, 2), (32, 32, 8, 2), (32, 16, 4, 2), (16, 16, 4, 1), (16, 16, 8, 1)],
    128: [(32, 32, 8, 2), (32, 16, 4, 2), (16, 16, 4, 1), (16, 16, 8, 1)],
    256: [(16, 16, 4, 1), (16, 16, 8, 1)],
}
BANDS: dict[int, Preferred] = {
    2: {64: [(64, 64, 4, 2)], 128: [(64, 64, 4, 2)], 256: [(32, 32, 4, 1)]},
    4: {64: [(32, 32, 4, 2)], 128: [(32, 32, 4, 1)], 256: [(16, 16, 4, 1)]},
}
WIDEST = [(16, 16, 8, 1)]


def preferred(key: Key) -> list[Tiles]:
    """The tiles to try for a row, the most promising first."""
    if key.kernel.startswith("band"):
        by_width = BANDS[key.item_bytes]
    elif key.item_bytes == 4:
        by_width = FLOATS
    elif key.positions:
        by_width = POSITIONED
    else:
        by_width = PLAIN[key.kernel]
    found = [Tiles(*sizes) for sizes in by_width.get(key.width, WIDEST)]
    return [tiles for tiles in found if tiles.queries == tiles.keys or key.kernel != "attend_columns"]
