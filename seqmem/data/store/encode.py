"""Pieces of text as token ids, by several processes."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqmem.data.sources.source import Piece, encoded
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import saved_tokenizer
from seqmem.data.words import count_words
from seqmem.data.workers import in_order

BYTES_WORTH_A_WORKER = 8_000_000
"""Starting a process takes as long as encoding some."""


@dataclass(frozen=True)
class Encoded:
    """A piece of text in tokens.

    Attributes:
        ids: ``[N]``, without what begins a document.
        begins: the document's name, where the piece is its beginning.
        num_bytes, num_words, num_invalid: of the text; ``num_invalid`` bytes are not UTF-8.
        starts_in_word, ends_in_word: whether its first and last characters are no spaces.
        digest: of the text.
    """

    ids: np.ndarray
    begins: str | None
    num_bytes: int
    num_words: int
    num_invalid: int
    starts_in_word: bool
    ends_in_word: bool
    digest: str


def encode(pieces: Iterable[Piece], tokenizer: TextVocabulary, folder: Path, num_workers: int) -> Iterator[Encoded]:
    """The pieces in their order.

    Args:
        folder: a place where the processes find the tokenizer.
    """
    tokenizer.save(folder)
    return in_order(_encode, pieces, num_workers, "encodes text", _take_tokenizer, (folder,))


_tokenizer: TextVocabulary
"""Of this process."""


def _take_tokenizer(folder: Path) -> None:
    global _tokenizer
    _tokenizer = saved_tokenizer(folder)


def _encode(piece: Piece) -> Encoded:
    text = piece.text
    content = encoded(text)
    return Encoded(
        ids=_tokenizer.encode(text),
        begins=piece.begins,
        num_bytes=len(content),
        num_words=count_words(text),
        num_invalid=invalid_bytes(text),
        starts_in_word=not text[:1].isspace(),
        ends_in_word=not text[-1:].isspace(),
        digest=hashlib.sha256(content).hexdigest(),
    )


def invalid_bytes(text: str) -> int:
    """How many bytes of a text from :func:`seqmem.data.sources.source.decoded` are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return sum("\udc80" <= character <= "\udcff" for character in text)
    return 0
