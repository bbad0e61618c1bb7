"""Proteins and genomes: FASTA files, whose every record is a document."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from seqmem.data.corpus import Document
from seqmem.errors import SeqmemError

SUFFIXES = (".fa", ".fasta", ".faa", ".fna")
NO_RESIDUE = re.compile(r"[^A-Za-z*-]")


def is_fasta(path: Path) -> bool:
    """Whether the name says so: one of :data:`SUFFIXES` and perhaps ``.gz``, in any case."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_records(path: Path) -> list[Document]:
    """The records of a FASTA file, compressed if its name ends in ``.gz``.

    A record is called what its header calls it before the first space. Its lines are joined without white space and in
    capitals: that repeats are masked by small letters is an annotation, which models of sequences do not read. ``*``
    (stop) and ``-`` (gap) stay; lines that begin with ``;`` are comments.

    Raises:
        SeqmemError: no record, a damaged archive, a line before the first header, a record without sequence or a
            character that no residue has.
    """
    documents: list[Document] = []
    name, parts = "", list[str]()
    for number, line in _lines(path):
        if line.startswith(">"):
            documents += _record(path, name, parts)
            name, parts = (line[1:].split() or [f"line-{number}"])[0], []
        elif not name:
            raise SeqmemError(f"{path}: line {number} comes before any header; begin every record with a line '>NAME'")
        else:
            parts.append(_residues(path, number, line))
    documents += _record(path, name, parts)
    if not documents:
        raise SeqmemError(f"{path} is empty; remove it or give it records")
    return documents


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that say something, whichever way they end."""
    open_text = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with open_text(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not line.startswith(";") and not line.isspace():
                    yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SeqmemError(f"{path} cannot be unpacked ({error}); fetch it again") from None


def _record(path: Path, name: str, parts: list[str]) -> list[Document]:
    """The record that has come to its end; none before the first header."""
    if name and not parts:
        raise SeqmemError(f"{path}: record '{name}' has no sequence; remove it")
    return [Document(name, "".join(parts))] if name else []


def _residues(path: Path, number: int, line: str) -> str:
    residues = "".join(line.split()).upper()
    if wrong := NO_RESIDUE.search(residues):
        raise SeqmemError(
            f"{path}: line {number} has {wrong[0]!r}, not a residue; leave letters, * and -, or give it another suffix"
        )
    return residues
