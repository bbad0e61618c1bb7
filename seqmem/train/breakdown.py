"""Where an evaluation's nats come from: by how much is before a token, and by how frequent its word is."""

from dataclasses import dataclass

import numpy as np

from seqmem.data.documents import Documents
from seqmem.data.word_frequency import CLASSES, LONGEST, WordCounts


@dataclass(frozen=True)
class Share:
    """A line of a table.

    Attributes:
        of: what it is of.
        count: tokens, or words.
        nats: the mean of these.
    """

    of: str
    count: int
    nats: float


class ByDistance:
    """Nats a token by a number of tokens, in stretches that double: 0, 1, 2 to 3, 4 to 7, ..."""

    def __init__(self) -> None:
        self._nats, self._counts = np.zeros(64), np.zeros(64, dtype=np.int64)

    def add(self, distances: np.ndarray, nats: np.ndarray) -> None:
        """Count tokens: the number that each goes by, from 0, and what it costs; ``[N]`` both."""
        stretch = np.frexp(distances)[1]
        self._nats += np.bincount(stretch, nats, len(self._nats))
        self._counts += np.bincount(stretch, minlength=len(self._counts))

    def shares(self) -> list[Share]:
        """A line for each stretch in which there are tokens."""
        return [
            Share(_stretch(index), int(count), float(nats / count))
            for index, (nats, count) in enumerate(zip(self._nats, self._counts, strict=True))
            if count
        ]


def _stretch(index: int) -> str:
    first, last = (1 << index) >> 1, (1 << index) - 1
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


class ByFrequency:
    """Nats a word by how often the word occurs in a training text.

    Args:
        documents: that are measured.
        counts: of the training text.
    """

    def __init__(self, documents: Documents, counts: WordCounts):
        self._documents, self._word_counts = documents, counts
        self._nats, self._counts = np.zeros(len(CLASSES)), np.zeros(len(CLASSES), dtype=np.int64)

    def add(self, places: np.ndarray, nats: np.ndarray) -> None:
        """Count tokens: their places, which rise, and what each costs; ``[N]`` both.

        A word is told by the tokens around these, so that its own may be counted in several calls.
        """
        begin, end = int(places[0]), int(places[-1]) + 1
        around = max(0, begin - LONGEST)
        ids = self._documents.tokens[around : end + LONGEST]
        here = places - around
        classes = self._word_counts.classes(ids)[here]
        self._nats += np.bincount(classes, nats, len(CLASSES))
        self._counts += np.bincount(classes[self._word_counts.begins(ids)[here]], minlength=len(CLASSES))

    def shares(self) -> list[Share]:
        """A line for each class that has words."""
        return [
            Share(name, int(count), float(nats / count))
            for name, nats, count in zip(CLASSES, self._nats, self._counts, strict=True)
            if count
        ]
