"""How the band operations are cut up for a GPU; without TVM, for those who only launch what was compiled before."""

from dataclasses import dataclass

ROWS = 64
"""Rows of a tile. Counterparts are counted in steps of as many, so that a kernel's inner tiles fit any window."""

ROWS_EACH = 8
COLUMNS_EACH = 8
LANES = 16
"""A thread sums 8 rows by up to 8 columns in its registers; up to 16 threads lie side by side."""


def num_tiles(num_rows: int, dilation: int) -> int:
    """Tiles that hold all rows of the output."""
    return -(-num_rows // (ROWS * dilation)) * dilation


def num_steps(num_columns: int) -> int:
    """Steps of ``ROWS`` that hold all counterparts of a tile: each row's columns begin one counterpart later."""
    return -(-(num_columns + ROWS - 1) // ROWS)


@dataclass(frozen=True)
class BandKernel:
    """One kernel to compile; lengths and windows are its arguments.

    Args:
        op: a definition in :mod:`.definitions`.
        dtype: of all tensors but scores and weights, which have ``sum_dtype``.
        width: D for ``band_qk``, E for the others.
    """

    op: str
    dtype: str
    width: int

    @property
    def symbol(self) -> str:
        return f"{self.op}_kernel"

    @property
    def sum_dtype(self) -> str:
        return "float64" if self.dtype == "float64" else "float32"

    @property
    def lanes(self) -> int:
        """Threads side by side: a divisor of the columns, so that no lane is idle in any tile."""
        return _divisor(self._num_columns, LANES)

    @property
    def columns_each(self) -> int:
        return _divisor(self._num_columns // self.lanes, COLUMNS_EACH)

    @property
    def depth(self) -> int:
        """How much of the sum is staged in shared memory at once: what fits 48 KB whatever the width."""
        return _divisor(self.width if self.op == "band_qk" else ROWS, 16 if self.dtype == "float64" else 32)

    @property
    def num_threads(self) -> int:
        return ROWS // ROWS_EACH * self.lanes

    @property
    def _num_columns(self) -> int:
        """Columns of a tile's product: counterparts of one step, or the values' width."""
        return ROWS if self.op == "band_qk" else self.width


def _divisor(number: int, most: int) -> int:
    return max(candidate for candidate in range(1, most + 1) if number % candidate == 0)
