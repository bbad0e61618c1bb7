"""Documents laid end to end, and laid so that each begins where a segment does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np

from seqmem.data.vocabulary import TokenArray, Vocabulary

FILLING = -1


class SplitTokens(Protocol):
    """Token ids by split, and where the documents of a split begin."""

    @property
    def splits(self) -> Mapping[str, TokenArray]: ...
    def document_starts(self, split: str) -> np.ndarray: ...


@dataclass(frozen=True)
class Documents:
    """Tokens ``[N]`` of documents laid end to end.

    Attributes:
        tokens: their ids.
        starts: the places where documents begin, ``[D]``; the first is 0.
        bos_ids: what every document begins with.
    """

    tokens: TokenArray
    starts: np.ndarray
    bos_ids: tuple[int, ...]

    @classmethod
    def of(cls, tokens: SplitTokens, split: str, vocabulary: Vocabulary) -> Self:
        """The documents of a split."""
        return cls(tokens.splits[split], tokens.document_starts(split), vocabulary.bos_ids)

    @classmethod
    def one(cls, tokens: TokenArray) -> Self:
        """Tokens as one document, begun by its first token."""
        return cls(tokens, np.zeros(1, dtype=np.int64), tuple(tokens[:1].tolist()))

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Tokens of each document, ``[D]``."""
        return np.diff(self.starts, append=len(self.tokens))

    def read(self, places: np.ndarray) -> np.ndarray:
        """Ids int64 at places of any shape; BOS for :data:`FILLING`."""
        ids = self.tokens[np.maximum(places, 0)].astype(np.int64)
        ids[places == FILLING] = self.bos_ids[0]
        return ids

    def preceding(self, places: np.ndarray) -> np.ndarray:
        """How many tokens of its own document stand before the one at each place; negative for what begins it."""
        document = np.searchsorted(self.starts, places, side="right") - 1
        return places - self.starts[document] - len(self.bos_ids)

    def scored(self, places: np.ndarray) -> np.ndarray:
        """Which places stand for something: not filling, nor what begins a document."""
        return (places != FILLING) & (self.preceding(places) >= 0)


class Laid:
    """Documents one after the other, each filled up so that the next begins at a multiple of ``multiple`` places.

    Args:
        order: numbers of documents; all in their order when absent.

    Attributes:
        begins: the places where documents begin, ``[D]``.
    """

    def __init__(self, documents: Documents, multiple: int = 1, order: Sequence[int] | np.ndarray | None = None):
        chosen = np.arange(len(documents)) if order is None else np.asarray(order, dtype=np.int64)
        self.documents, self.multiple = documents, multiple
        self._starts, self._sizes = documents.starts[chosen], documents.sizes[chosen]
        room = -(-self._sizes // multiple) * multiple
        self.begins = np.cumsum(room) - room
        self._len = int(room.sum())

    def __len__(self) -> int:
        return self._len

    @property
    def filling(self) -> float:
        """The share of places that hold nothing."""
        return 1 - int(self._sizes.sum()) / self._len

    def source(self, places: np.ndarray) -> np.ndarray:
        """Where in ``documents.tokens`` that stands which is at places of any shape; else :data:`FILLING`."""
        number = np.searchsorted(self.begins, places, side="right") - 1
        offset = places - self.begins[number]
        return np.where(offset < self._sizes[number], self._starts[number] + offset, FILLING)

    def is_begin(self, places: np.ndarray) -> np.ndarray:
        """At which places a document begins."""
        return self.begins[np.searchsorted(self.begins, places, side="right") - 1] == places
