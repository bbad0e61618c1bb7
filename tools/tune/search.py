"""The search: which tiles are worth measuring, and successive halving among them."""

from collections.abc import Callable, Mapping, Sequence

from seqmem.backends.tvm.spec import ITEM_BYTES, VECTOR_BYTES
from seqmem.backends.tvm.tiles import Tiles

NUM_REGISTERS = {"avx512": 32, "avx2": 16, "neon": 32, "generic": 16}
LEAST_FILLED = 0.75
BLOCK_QUERIES = (12, 24, 48, 96)
BLOCK_KEYS = (64, 128, 256, 512)
FINAL_ROUNDS = 8

TimeInTurns = Callable[[Sequence[Tiles], int], Mapping[Tiles, float]]
"""Median seconds of each of some tiles over a number of rounds in which they take turns."""


def register_tiles(start: Tiles, isa: str, dtype: str, width: int) -> list[Tiles]:
    """Register tiles that need most of the vector registers and no more, as wide as divides ``width``.

    A tile needs its sums, a line of the second factor, and one number of the first in every lane of a register.
    """
    lanes, num_registers = VECTOR_BYTES[isa] // ITEM_BYTES[dtype], NUM_REGISTERS[isa]
    found = [start]
    for vectors in (1, 2, 4):
        for rows in range(2, num_registers):
            needed = rows * vectors + vectors + 1
            if width % (vectors * lanes) == 0 and LEAST_FILLED * num_registers <= needed <= num_registers:
                found.append(with_block(rows, vectors, start.queries, start.keys, lanes))
    return list(dict.fromkeys(found))


def cache_blocks(tiles: Tiles, isa: str, dtype: str) -> list[Tiles]:
    """The same register tile with other cache blocks."""
    lanes = VECTOR_BYTES[isa] // ITEM_BYTES[dtype]
    blocks = [
        with_block(tiles.rows, tiles.vectors, queries, keys, lanes) for queries in BLOCK_QUERIES for keys in BLOCK_KEYS
    ]
    return list(dict.fromkeys([tiles, *blocks]))


def with_block(rows: int, vectors: int, queries: int, keys: int, lanes: int) -> Tiles:
    """A register tile with the cache block of whole register tiles nearest to ``queries x keys``."""
    columns = vectors * lanes
    return Tiles(rows, vectors, max(1, round(queries / rows)) * rows, max(1, round(keys / columns)) * columns)


def search(start: Tiles, isa: str, dtype: str, width: int, time_in_turns: TimeInTurns) -> tuple[Tiles, float]:
    """The fastest tiles and how much faster they are than ``start``: the register tile first, then its cache block."""
    best = halve(register_tiles(start, isa, dtype, width), time_in_turns)
    best = halve(cache_blocks(best, isa, dtype), time_in_turns)
    if best == start:
        return start, 1.0
    seconds = time_in_turns([start, best], 2 * FINAL_ROUNDS)
    return (best, seconds[start] / seconds[best]) if seconds[best] < seconds[start] else (start, 1.0)


def halve(candidates: Sequence[Tiles], time_in_turns: TimeInTurns) -> Tiles:
    """Successive halving: the slower half leaves, the others are measured in twice as many rounds."""
    rounds = 1
    while len(candidates) > 1:
        seconds = time_in_turns(candidates, rounds)
        candidates = sorted(candidates, key=lambda tiles: seconds[tiles])[: (len(candidates) + 1) // 2]
        rounds = min(2 * rounds, FINAL_ROUNDS)
    return candidates[0]
