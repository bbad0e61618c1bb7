"""What a kernel is compiled for: nothing here is a length of a sequence."""

from dataclasses import dataclass

LEAST = 16
"""Of an axis of a product on tensor cores."""


@dataclass(frozen=True)
class Form:
    """The constants of a kernel.

    Args:
        pattern: ``"band"``, ``"dense"`` or ``"gather"``.
        causal: of a Gather.
        dilation: of a Band, else 1.
        width: D, of queries and keys; ``value_width`` is E. Padded, they are powers of two.
        queries, keys: sizes of a tile.
        precision: how products of float32 are computed, ``"ieee"`` or ``"tf32"``.
    """

    pattern: str
    causal: bool
    dilation: int
    width: int
    value_width: int
    queries: int
    keys: int
    precision: str

    @property
    def span(self) -> int:
        """A power of two that holds the diagonals of a tile, of which there are ``queries + keys - 1``."""
        return 2 * max(self.queries, self.keys)

    @property
    def padded_width(self) -> int:
        return padded(self.width)

    @property
    def padded_value_width(self) -> int:
        return padded(self.value_width)


def padded(width: int) -> int:
    """The next power of two that tensor cores take."""
    return max(LEAST, 1 << (width - 1).bit_length())
