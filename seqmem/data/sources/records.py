"""Files that hold many documents: all of them, those that a split was dealt, or a part of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from seqmem.data.sources.files import File
from seqmem.data.sources.source import Piece, Source, document, encoded, in_pieces


class Record(NamedTuple):
    """One document of a file."""

    name: str
    text: str


class Reader(Protocol):
    """A module that reads files of one kind."""

    def count(self, file: File) -> int:
        """How many records there are."""

    def read(self, file: File) -> Iterator[Record]:
        """The records in order."""


KINDS = {
    "fasta": (".fa", ".fasta", ".faa", ".fna"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet",),
}
"""The suffixes of files that hold records, by the module here that reads them; of text lines also ``.gz``, ``.zst``."""


def kind_of(name: str) -> str | None:
    """The kind of records that a file of this name holds; None where it holds none."""
    plain = name.lower().removesuffix(".gz").removesuffix(".zst")
    kind = next((kind for kind, suffixes in KINDS.items() if plain.endswith(suffixes)), None)
    return kind if plain == name.lower() or kind != "parquet" else None


def reader(file: File) -> Reader:
    """The module that reads a file of records."""
    kind = kind_of(file.name)
    assert kind
    return cast(Reader, import_module(f"seqmem.data.sources.{kind}"))


@dataclass(frozen=True)
class Records(Source):
    """The records of a file that ``chosen`` gives: of record ``index`` a part of its text, or None."""

    file: File
    chosen: Callable[[int, str], str | None]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.file.name

    @property
    def num_bytes(self) -> int:  # type: ignore[override]
        return self.file.num_bytes

    def pieces(self) -> Iterator[Piece]:
        for index, (name, text) in enumerate(reader(self.file).read(self.file)):
            if (part := self.chosen(index, text)) is not None:
                yield from document(name, in_pieces([encoded(part)]))
