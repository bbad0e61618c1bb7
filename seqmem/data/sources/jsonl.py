"""JSON Lines: every line is an object whose ``text`` is a document."""

import json
from collections.abc import Iterator

from seqmem.data.sources.files import File
from seqmem.data.sources.lines import unpacked
from seqmem.data.sources.records import Record
from seqmem.errors import SeqmemError

MAX_LINE = 1 << 28
NAMES = ("id", "name", "title", "url")


def count(file: File) -> int:
    return sum(1 for _ in _lines(file))


def read(file: File) -> Iterator[Record]:
    """A record is called what its first field of :data:`NAMES` says, else by its line.

    Raises:
        SeqmemError: no record; a line that is no object of JSON with a ``text``, or is longer than 256 MiB.
    """
    for number, line in _lines(file):
        where = f"{file.location}: line {number:,}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SeqmemError(f"{where} is not JSON ({error}); mend or remove it") from None
        if not isinstance(values, dict) or not isinstance(values.get("text"), str):
            found = (
                f"it has {', '.join(map(str, values)) or 'nothing'}" if isinstance(values, dict) else "it is no object"
            )
            raise SeqmemError(f'{where} has no "text"; {found[:200]}; give every document as {{"text": "..."}}')
        yield Record(str(next((values[key] for key in NAMES if key in values), f"line-{number}")), values["text"])


def _lines(file: File) -> Iterator[tuple[int, bytes]]:
    """Number and content of the lines that are not blank."""
    is_empty = True
    with unpacked(file) as content:
        for number, line in enumerate(iter(lambda: content.readline(MAX_LINE), b""), 1):
            if len(line) == MAX_LINE:
                raise SeqmemError(
                    f"{file.location}: line {number:,} is longer than 256 MiB; give its text as a .txt file"
                )
            if not line.isspace():
                is_empty = False
                yield number, line
    if is_empty:
        raise SeqmemError(f"{file.location} is empty; remove it or give it records")
