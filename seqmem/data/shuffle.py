"""An endless order of examples that is known from its seed and place."""

import numpy as np


class Shuffle:
    """Numbers below ``count``, all of them in every epoch, each epoch in an order of its own.

    Args:
        seed: any whole number.
    """

    def __init__(self, count: int, seed: int):
        self._count = count
        self._seed = seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, place: int) -> int:
        epoch, index = divmod(place, self._count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, generator(self._seed, epoch).permutation(self._count)
        return int(self._order[index])


def generator(*key: int) -> np.random.Generator:
    """Random numbers that ``key`` alone determines."""
    return np.random.default_rng([part % 2**64 for part in key])
