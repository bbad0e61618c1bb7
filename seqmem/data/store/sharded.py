"""Token ids in several mapped files as one array."""

from collections.abc import Sequence

import numpy as np


class ShardedTokens:
    """Arrays laid end to end, read as :class:`seqmem.data.vocabulary.TokenArray` says."""

    def __init__(self, parts: Sequence[np.ndarray], dtype: np.dtype):
        self._parts = parts
        self._ends = np.cumsum([0, *map(len, parts)])
        self._dtype = dtype

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        if isinstance(places, slice):
            return self._slice(*places.indices(len(self)))
        part = np.searchsorted(self._ends, places, side="right") - 1
        out = np.empty(places.shape, self._dtype)
        for number in np.unique(part):
            here = part == number
            out[here] = self._parts[number][places[here] - self._ends[number]]
        return out

    def _slice(self, start: int, stop: int, step: int) -> np.ndarray:
        if step != 1:
            return self[np.arange(start, stop, step)]
        bounds = zip(self._parts, self._ends, strict=False)
        inside = [part[max(0, start - before) : max(0, stop - before)] for part, before in bounds]
        return np.concatenate([np.empty(0, self._dtype), *(part for part in inside if len(part))])
