"""What a split of a corpus is made of: texts that come in pieces, so that none need fit in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

PIECE_BYTES = 1 << 20


class Piece(NamedTuple):
    """Text of a document, and the document's name where this is its beginning.

    Bytes that are not UTF-8 stand in the text as ``surrogateescape`` (PEP 383) has them.
    """

    text: str
    begins: str | None


class Source(ABC):
    """One or more documents, read anew each time they are asked for.

    Attributes:
        name: for messages.
        num_bytes: about how much there is to read.
    """

    name: str
    num_bytes: int

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """The documents in order, each in pieces of about a megabyte at most.

        Raises:
            SeqmemError: something in it cannot be read.
        """


@dataclass(frozen=True)
class Text(Source):
    """A document that is in memory."""

    name: str
    text: str

    @property
    def num_bytes(self) -> int:  # type: ignore[override]
        return len(self.text)

    def pieces(self) -> Iterator[Piece]:
        return document(self.name, in_pieces([encoded(self.text)]))


def document(name: str, texts: Iterable[str]) -> Iterator[Piece]:
    """The pieces of one document, at least one."""
    begins: str | None = name
    for text in texts:
        yield Piece(text, begins)
        begins = None
    if begins is not None:
        yield Piece("", begins)


def in_pieces(blocks: Iterable[bytes]) -> Iterator[str]:
    """The text of UTF-8 ``blocks`` that follow one another, in pieces that do not depend on where blocks end.

    A piece ends after a line break where it has one, else before a space, else between two characters.
    """
    rest = b""
    for block in blocks:
        rest += block
        while len(rest) > PIECE_BYTES:
            end = _end_of_piece(rest[:PIECE_BYTES])
            yield decoded(rest[:end])
            rest = rest[end:]
    if rest:
        yield decoded(rest)


def _end_of_piece(window: bytes) -> int:
    if (newline := window.rfind(b"\n")) >= 0:
        return newline + 1
    if (space := window.rfind(b" ")) > 0:
        return space
    return len(window) - next(
        (back for back in range(1, 4) if window[-back] >= 0xC0),  # the first byte of a character of several
        0,
    )


def decoded(content: bytes) -> str:
    """Text of any bytes."""
    return content.decode("utf-8", errors="surrogateescape")


def encoded(text: str) -> bytes:
    """The bytes of text that :func:`decoded` gave."""
    return text.encode("utf-8", errors="surrogateescape")
