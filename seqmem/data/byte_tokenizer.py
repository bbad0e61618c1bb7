"""Bytes as tokens: nothing to learn, nothing that cannot be written."""

import hashlib
from pathlib import Path

import numpy as np

from seqmem.config import BYTE_VOCAB_SIZE
from seqmem.data.text_vocabulary import TextVocabulary, utf8

FILE_NAME = "bytes.txt"
BOS_ID = BYTE_VOCAB_SIZE - 1
SPELLINGS = (*(bytes([byte]) for byte in range(BOS_ID)), b"")
ABOUT = f"A token is a byte, its id the byte's value; {BOS_ID} begins a document.\n"


class ByteTokenizer(TextVocabulary):
    """Every byte of a text's UTF-8 is the token of its value, 0 ... 255; 256 is BOS."""

    hash = hashlib.sha256(ABOUT.encode()).hexdigest()[:16]

    def __init__(self) -> None:
        super().__init__(SPELLINGS, BOS_ID)

    def encode(self, text: str) -> np.ndarray:
        return self.encode_bytes(utf8(text))

    def encode_bytes(self, content: bytes) -> np.ndarray:
        """Token ids ``[N]`` uint16 of any bytes."""
        return np.frombuffer(content, dtype=np.uint8).astype(np.uint16)

    def describe(self) -> str:
        return f"bytes, {self.vocab_size} ids with BOS, {self.hash}"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_text(ABOUT)
