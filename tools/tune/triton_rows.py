"""What tiles of the Triton kernels are tuned for: the rows of the table that ships."""

from dataclasses import dataclass

from seqmem.backends.triton.tiles import Tiles, table, tiles_for

KERNELS = (
    "attend",
    "attend_queries",
    "attend_keys",
    "attend_columns",
    "attend_bias",
    "band_qk",
    "band_pv",
    "band_pv_t",
)
"""From the one that is used most."""


@dataclass(frozen=True)
class Key:
    """A row of the table, found by a kernel's name and its operands; see :func:`tiles_for`."""

    kernel: str
    item_bytes: int
    positions: bool
    width: int

    def __str__(self) -> str:
        return f"{self.kernel}, {self.item_bytes} bytes, width {self.width}{', positions' * self.positions}"

    @property
    def tiles(self) -> Tiles:
        """What ships."""
        return tiles_for(self.kernel, self.item_bytes, self.width, self.positions)


def rows_by_use() -> list[Key]:
    """Every row, those first that are used most: 16 bits and widths 64 and 128, without relative positions and with."""
    keys = [Key(row["kernel"], row["item_bytes"], row["positions"], row["width"]) for row in table()]

    def rank(key: Key) -> tuple:
        rare = key.item_bytes != 2 or key.width not in (64, 128)
        return rare, key.positions, key.item_bytes, KERNELS.index(key.kernel), key.width

    return sorted(keys, key=rank)
