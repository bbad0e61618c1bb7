"""What tokens of text have in common: bytes that they stand for, and a BOS that begins every document."""

from abc import abstractmethod
from collections.abc import Iterable

import numpy as np

from seqmem.data.vocabulary import Vocabulary


class TextVocabulary(Vocabulary):
    """Text <-> token ids, losslessly.

    Attributes:
        bos_id: the id that begins every document, the only one of ``bos_ids``; it stands for no text.
        num_bytes: ``[vocab_size]`` int64, the UTF-8 bytes each id stands for.
    """

    unit = "byte"
    bos_id: int
    num_bytes: np.ndarray

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Token ids ``[N]`` of ``text``, of the same dtype for every text."""

    @abstractmethod
    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The UTF-8 bytes of ``ids``; a character may be spread over several."""

    @abstractmethod
    def begins_word(self, ids: np.ndarray) -> np.ndarray:
        """Which of ``ids [N]`` begin a word: ``[N]`` bool.

        Those are the first one, tokens that begin with a space or a line break, and what follows a line break.
        """

    def encode_documents(self, texts: Iterable[str]) -> np.ndarray:
        """Documents laid end to end, each begun by :attr:`bos_id`: ``[N]``."""
        bos = np.full_like(self.encode(""), self.bos_id, shape=1)
        return np.concatenate([part for text in texts for part in (bos, self.encode(text))] or [bos[:0]])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; bytes that are not UTF-8, as a model may sample them, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")
