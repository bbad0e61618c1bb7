"""What tokens stand for, as training and evaluation need to know it: text by a tokenizer, sound by a codec."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np


class Vocabulary(ABC):
    """Ids 0 ... vocab_size - 1 and how much of the original each of them stands for.

    Attributes:
        vocab_size: number of ids.
        bos_ids: what stands before the first token of every document: read, never scored.
        hash: 16 hex digits; equal hashes mean equal tokens.
        unit: what likelihoods are counted by: ``"byte"`` or ``"sample"``.
        num_units: ``[vocab_size]`` of these that each id stands for.
    """

    vocab_size: int
    bos_ids: tuple[int, ...]
    hash: str
    unit: str
    num_units: np.ndarray

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what it takes to make this again into ``folder``, which is made where absent."""
