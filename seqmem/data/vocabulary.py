"""What tokens stand for, as training and evaluation need to know it: text by a tokenizer, sound by a codec."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np


class TokenArray(Protocol):
    """Ids ``[N]`` that need not be in memory: read by slices, and by integer arrays of any shape."""

    def __len__(self) -> int: ...
    def __getitem__(self, places: slice | np.ndarray, /) -> np.ndarray: ...


class Vocabulary(ABC):
    """Ids 0 ... vocab_size - 1 and how much of the original each of them stands for.

    Attributes:
        vocab_size: number of ids.
        bos_ids: what stands before the first token of every document: read, never scored.
        hash: 16 hex digits; equal hashes mean equal tokens.
        unit: what likelihoods are counted by: ``"byte"`` or ``"sample"``.
    """

    vocab_size: int
    bos_ids: tuple[int, ...]
    hash: str
    unit: str

    @abstractmethod
    def describe(self) -> str:
        """Kind, size and hash in a few words."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what it takes to make this again into ``folder``, which is made where absent."""
