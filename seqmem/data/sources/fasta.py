"""Proteins and genomes: FASTA files, whose every record is a document."""

import io
import re
from collections.abc import Iterator

from seqmem.data.sources.files import File
from seqmem.data.sources.lines import unpacked
from seqmem.data.sources.records import Record
from seqmem.errors import SeqmemError

NO_RESIDUE = re.compile(r"[^A-Za-z*-]")


def count(file: File) -> int:
    return sum(line.startswith(">") for _, line in _lines(file))


def read(file: File) -> Iterator[Record]:
    """The records of a FASTA file, compressed if its name ends in ``.gz``.

    A record is called what its header calls it before the first space. Its lines are joined without white space and in
    capitals: that repeats are masked by small letters is an annotation, which models of sequences do not read. ``*``
    (stop) and ``-`` (gap) stay; lines that begin with ``;`` are comments.

    Raises:
        SeqmemError: no record, a damaged archive, a line before the first header, a record without sequence or a
            character that no residue has.
    """
    name, parts = "", list[str]()
    for number, line in _lines(file):
        if line.startswith(">"):
            yield from _record(file, name, parts)
            name, parts = (line[1:].split() or [f"line-{number}"])[0], []
        elif not name:
            raise SeqmemError(
                f"{file.location}: line {number} comes before any header; begin every record with a line '>NAME'"
            )
        else:
            parts.append(_residues(file, number, line))
    yield from _record(file, name, parts)
    if not name:
        raise SeqmemError(f"{file.location} is empty; remove it or give it records")


def _lines(file: File) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that say something, whichever way they end."""
    with unpacked(file) as content:
        lines = io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace")
        for number, line in enumerate(lines, 1):
            if not line.startswith(";") and not line.isspace():
                yield number, line


def _record(file: File, name: str, parts: list[str]) -> Iterator[Record]:
    """The record that has come to its end; none before the first header."""
    if name and not parts:
        raise SeqmemError(f"{file.location}: record '{name}' has no sequence; remove it")
    if name:
        yield Record(name, "".join(parts))


def _residues(file: File, number: int, line: str) -> str:
    residues = "".join(line.split()).upper()
    if wrong := NO_RESIDUE.search(residues):
        raise SeqmemError(
            f"{file.location}: line {number} has {wrong[0]!r}, not a residue; "
            "leave letters, * and -, or give it another suffix"
        )
    return residues
