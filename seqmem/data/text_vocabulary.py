"""What tokens of text have in common: bytes that they stand for, and a BOS that begins every document."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError


class TextVocabulary(Vocabulary):
    """Text <-> token ids, losslessly.

    Bytes that are not UTF-8 stand in a text as Python's ``surrogateescape`` (PEP 383) has them, so that any file can be
    encoded and comes back as it was.

    Args:
        spellings: the UTF-8 bytes each id stands for, which may be a part of a character.
        bos_id: the id that begins every document.

    Attributes:
        bos_id: the only one of ``bos_ids``; it stands for no text.
        num_bytes: ``[vocab_size]`` int64, the UTF-8 bytes each id stands for.
    """

    unit = "byte"

    def __init__(self, spellings: Sequence[bytes], bos_id: int):
        self.vocab_size = len(spellings)
        self.bos_id = bos_id
        self.bos_ids = (bos_id,)
        self.num_bytes = np.array([len(spelling) for spelling in spellings])
        self._spellings = spellings
        self._opens = np.array([spelling.startswith((b" ", b"\n")) for spelling in spellings])
        self._ends_line = np.array([spelling.endswith(b"\n") for spelling in spellings])

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Token ids ``[N]`` of ``text``: uint16 where the vocabulary allows, else int32.

        Raises:
            SeqmemError: the text has a surrogate that stands for no byte.
        """

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The UTF-8 bytes of ``ids``; a character may be spread over several."""
        return b"".join(map(self._spellings.__getitem__, ids))

    def begins_word(self, ids: np.ndarray) -> np.ndarray:
        """Which of ``ids [N]`` begin a word: ``[N]`` bool.

        Those are the first one, tokens that begin with a space or a line break, and what follows a line break.
        """
        return np.concatenate([[True], self._ends_line[ids[:-1]]]) | self._opens[ids]

    def encode_documents(self, texts: Iterable[str]) -> np.ndarray:
        """Documents laid end to end, each begun by :attr:`bos_id`: ``[N]``."""
        bos = np.full_like(self.encode(""), self.bos_id, shape=1)
        return np.concatenate([part for text in texts for part in (bos, self.encode(text))] or [bos[:0]])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; bytes that are not UTF-8, as a model may sample them, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")


def utf8(text: str) -> bytes:
    """The bytes of ``text``, those among them that are not UTF-8 as they were.

    Raises:
        SeqmemError: it has a surrogate that stands for no byte.
    """
    try:
        return text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise SeqmemError(f"the text is not valid Unicode at character {error.start}; give it as UTF-8") from None
