"""The odd shapes of the conformance suite; few pairs of widths, since some backends compile anew for each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from seqmem.ops import Band, Blocks, Dense, Gather
from seqmem.ops.pattern import Pattern


@dataclass(frozen=True)
class Layout:
    """Sizes and the pattern over them."""

    name: str
    B: int
    T: int
    S: int
    H: int
    D: int
    E: int
    pattern: Callable[[torch.Generator], Pattern]
    large: bool = False


def _band(*args) -> Callable[[torch.Generator], Pattern]:
    return lambda generator: Band(*args)


def _gather(B: int, S: int, G: int, H: int | None = None, causal: bool = False) -> Callable[[torch.Generator], Pattern]:
    def make(generator: torch.Generator) -> Pattern:
        shape = (B, S) if H is None else (B, H, S)
        index = torch.rand(shape, generator=generator).argsort(-1)[..., :G]
        return Gather(index, torch.rand(index.shape, generator=generator) < 0.7, causal)

    return make


def _blocks(H: int, n: int, size: int, causal: bool = False) -> Callable[[torch.Generator], Pattern]:
    """Two of five blocks; the first row sees all, the last none."""

    def make(generator: torch.Generator) -> Pattern:
        layout = torch.rand(H, n, n, generator=generator) < 0.4
        layout[:, 0], layout[:, -1] = True, False
        return Blocks(layout, size, causal)

    return make


BANDS = (
    Layout("window wider than T", 2, 7, 7, 2, 4, 4, _band(9)),
    Layout("memory, E != D", 1, 33, 50, 3, 8, 5, _band(6)),
    Layout("columns == D", 2, 19, 19, 2, 5, 8, _band(4)),
    Layout("two-sided", 1, 40, 43, 2, 5, 8, _band(3, 2)),
    Layout("dilated two-sided", 1, 37, 45, 2, 4, 4, _band(3, 1, 3)),
    Layout("one query", 2, 1, 9, 2, 4, 4, _band(8)),
    Layout("one query, dilated two-sided", 2, 1, 9, 2, 4, 4, _band(3, 1, 2)),
    Layout("one query, window wider than S", 2, 1, 5, 2, 4, 4, _band(7)),
    Layout("self only", 1, 6, 8, 1, 5, 8, _band(0)),
    Layout("per head", 2, 21, 26, 4, 4, 4, _band((2, 5, 2, 5), (0, 1, 0, 0), (1, 2, 1, 2))),
    Layout("all tuples, odd order", 1, 17, 17, 3, 4, 4, _band((1, 4, 1), 1, (2, 1, 2))),
    Layout("across tiles", 1, 161, 173, 2, 8, 5, _band(30, 5), large=True),
    Layout("across tiles, dilated", 1, 401, 409, 2, 5, 8, _band(10, 0, 3), large=True),
)
NAMED = (
    Layout("dense", 2, 9, 13, 2, 8, 5, lambda generator: Dense()),
    Layout("dense, T > S", 1, 11, 3, 2, 4, 4, lambda generator: Dense()),
    Layout("gather", 2, 9, 13, 2, 4, 5, _gather(2, 13, 5)),
    Layout("gather causal", 2, 12, 12, 2, 4, 4, _gather(2, 12, 6, causal=True)),
    Layout("gather per head", 2, 8, 15, 3, 4, 4, _gather(2, 15, 4, H=3)),
    Layout("blocks", 2, 9, 13, 2, 4, 5, _blocks(1, 5, 3)),
    Layout("blocks per head, some without keys", 2, 13, 13, 3, 4, 4, _blocks(3, 4, 4)),
    Layout("blocks causal", 2, 12, 17, 2, 8, 5, _blocks(2, 9, 2, causal=True)),
    Layout("one query of blocks", 2, 1, 9, 2, 4, 4, _blocks(2, 4, 4, causal=True)),
    Layout("blocks across tiles", 1, 170, 203, 2, 8, 5, _blocks(2, 13, 17), large=True),
    Layout("blocks across tiles, causal", 1, 203, 203, 2, 5, 8, _blocks(1, 26, 8, causal=True), large=True),
    Layout("dense across blocks", 1, 300, 70, 2, 5, 8, lambda generator: Dense(), large=True),
)
SEQUENCES = (
    Layout("short", 2, 5, 5, 2, 3, 4, lambda generator: Dense()),
    Layout("across chunks", 1, 131, 131, 2, 4, 2, lambda generator: Dense(), large=True),
)
