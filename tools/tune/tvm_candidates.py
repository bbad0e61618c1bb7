"""Tiles of the tvm kernels that are worth measuring."""

from dataclasses import dataclass

from seqmem.backends.tvm.spec import ITEM_BYTES, VECTOR_BYTES
from seqmem.backends.tvm.tiles import Tiles

NUM_REGISTERS = {"avx512": 32, "avx2": 16, "neon": 32, "generic": 16}
LEAST_FILLED = 0.75
BLOCK_QUERIES = (12, 24, 48, 96)
BLOCK_KEYS = (64, 128, 256, 512)


@dataclass(frozen=True)
class Key:
    """What tiles are tuned for: keys and values ``width`` wide, a causal window of ``window`` tokens."""

    isa: str
    dtype: str
    width: int
    window: int

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return VECTOR_BYTES[self.isa] // ITEM_BYTES[self.dtype]


def register_tiles(start: Tiles, key: Key) -> list[Tiles]:
    """Register tiles that need most of the vector registers and no more, as wide as divides the key's width.

    A tile needs its sums, a line of the second factor, and one number of the first in every lane of a register.
    """
    num_registers = NUM_REGISTERS[key.isa]
    found = [start]
    for vectors in (1, 2, 4):
        for rows in range(2, num_registers):
            needed = rows * vectors + vectors + 1
            if key.width % (vectors * key.lanes) == 0 and LEAST_FILLED * num_registers <= needed <= num_registers:
                found.append(with_block(rows, vectors, start.queries, start.keys, key.lanes))
    return list(dict.fromkeys(found))


def cache_blocks(tiles: Tiles, key: Key) -> list[Tiles]:
    """The same register tile with other cache blocks."""
    blocks = [
        with_block(tiles.rows, tiles.vectors, queries, keys, key.lanes)
        for queries in BLOCK_QUERIES
        for keys in BLOCK_KEYS
    ]
    return list(dict.fromkeys([tiles, *blocks]))


def with_block(rows: int, vectors: int, queries: int, keys: int, lanes: int) -> Tiles:
    """A register tile with the cache block of whole register tiles nearest to ``queries x keys``."""
    columns = vectors * lanes
    return Tiles(rows, vectors, max(1, round(queries / rows)) * rows, max(1, round(keys / columns)) * columns)
