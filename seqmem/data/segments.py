"""Documents cut into texts that an encoder can read whole."""

import numpy as np

from seqmem.data.vocabulary import TokenArray
from seqmem.errors import SeqmemError


class Segments:
    """Each document in as few segments as fit, equally long but for a token; ``segments[i]`` is ``[n]`` int64.

    Args:
        tokens: ``[N]`` ids, every document begun by ``bos_id``, which no segment has.
        length: tokens of a segment, at most.
        name: what ``tokens`` are, for an error.

    Raises:
        SeqmemError: there is no text.
    """

    def __init__(self, tokens: TokenArray, bos_id: int, length: int, name: str):
        begins = np.flatnonzero(tokens[:] == bos_id)
        sizes = np.diff(begins, append=len(tokens)) - 1
        counts = -(-sizes // length)
        document = np.repeat(np.arange(len(begins)), counts)
        number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        first, size, count = begins[document] + 1, sizes[document], counts[document]
        self._tokens = tokens
        self._starts = first + number * size // count
        self._ends = first + (number + 1) * size // count
        if not len(self):
            raise SeqmemError(f"{name} has no text; give another split or folder")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self._tokens[self._starts[index] : self._ends[index]], dtype=np.int64)
