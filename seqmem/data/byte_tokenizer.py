"""Bytes as tokens: nothing to learn, nothing that cannot be written."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from seqmem.config import BYTE_VOCAB_SIZE
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.errors import SeqmemError

FILE_NAME = "bytes.txt"
ABOUT = f"A token is a byte, its id the byte's value; {BYTE_VOCAB_SIZE - 1} begins a document.\n"


class ByteTokenizer(TextVocabulary):
    """Every byte is the token of its value, 0 ... 255; 256 is BOS.

    Text is its UTF-8. Bytes that are not UTF-8 stand in a ``str`` as Python's ``surrogateescape`` (PEP 383) has them,
    so that any file can be encoded and comes back as it was.
    """

    vocab_size = BYTE_VOCAB_SIZE
    bos_id = BYTE_VOCAB_SIZE - 1
    bos_ids = (bos_id,)
    hash = hashlib.sha256(ABOUT.encode()).hexdigest()[:16]

    def __init__(self) -> None:
        self.num_bytes = np.ones(self.vocab_size, dtype=np.int64)
        self.num_bytes[self.bos_id] = 0

    def encode(self, text: str) -> np.ndarray:
        """Token ids ``[N]`` uint16 of ``text``."""
        try:
            return self.encode_bytes(text.encode("utf-8", errors="surrogateescape"))
        except UnicodeEncodeError as error:
            raise SeqmemError(f"the text is not valid Unicode at character {error.start}; give it as UTF-8") from None

    def encode_bytes(self, content: bytes) -> np.ndarray:
        """Token ids ``[N]`` uint16 of any bytes."""
        return np.frombuffer(content, dtype=np.uint8).astype(np.uint16)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return bytes(index for index in ids if index != self.bos_id)

    def begins_word(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate([[True], ids[:-1] == ord("\n")]) | np.isin(ids, [ord(" "), ord("\n")])

    def describe(self) -> str:
        return f"bytes, {self.vocab_size} ids with BOS, {self.hash}"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_text(ABOUT)
