"""Tiles of the Triton kernels that are worth measuring."""

from dataclasses import replace
from itertools import product

from seqmem.backends.triton.tiles import Tiles
from triton_rows import Key

SIDES = (16, 32, 64, 128)
LONGEST = 4
WARPS = (4, 8)
STAGES = (1, 2, 3, 4)
LEAST_NUMBERS = 24
MOST_NUMBERS = {2: 256, 4: 64}
"""Scores of a tile and entries of its queries and keys that a thread has to do with. Without tensor cores, those of
float32, large tiles spill and take minutes to compile."""


def tile_sizes(start: Tiles, key: Key) -> list[Tiles]:
    """``start`` and other sizes with other warps that give each thread enough to do and not too much."""
    found = [start]
    for queries, keys, warps in product(SIDES, SIDES, WARPS):
        numbers = (queries * keys + (queries + keys) * key.width) / (32 * warps)
        longest = 1 if key.kernel == "attend_columns" else LONGEST
        if (
            max(queries, keys) <= longest * min(queries, keys)
            and LEAST_NUMBERS <= numbers <= MOST_NUMBERS[key.item_bytes]
        ):
            found.append(replace(start, queries=queries, keys=keys, warps=warps))
    return list(dict.fromkeys(found))


def stages(tiles: Tiles) -> list[Tiles]:
    """The same tile with longer and shorter pipelines."""
    return [tiles, *(replace(tiles, stages=number) for number in STAGES if number != tiles.stages)]
