"""How many books and words PG-19 has."""

from collections.abc import Iterable
from typing import NamedTuple

from seqmem.errors import SeqmemError

# github.com/google-deepmind/pg19, README
BOOKS = {"train": 28_602, "validation": 50, "test": 100}
WORDS = {"train": 1_973_136_207, "validation": 3_007_061, "test": 6_966_499}

WORD_TOLERANCE = 0.001


class Counts(NamedTuple):
    """Of a split or a file; ``words`` are what ``str.split`` finds, None where they were not counted."""

    books: int
    words: int | None


def total(parts: Iterable[Counts]) -> Counts:
    """The sum; its words are counted if those of every part are."""
    parts = list(parts)
    words = [part.words for part in parts if part.words is not None]
    return Counts(sum(part.books for part in parts), sum(words) if len(words) == len(parts) else None)


def refuse_other_books(base_url: str, split: str, books: int) -> None:
    """Raise SeqmemError unless there are as many books as PG-19 has."""
    if books != BOOKS[split]:
        raise SeqmemError(
            f"{base_url} has {books:,} books for {split}, PG-19 {BOOKS[split]:,}; name the base URL of a whole copy"
        )


def refuse_other_words(base_url: str, split: str, words: int) -> None:
    """Raise SeqmemError if there are 0.1 % more or fewer words than PG-19 has."""
    if not _is_about(words, split):
        raise SeqmemError(
            f"{base_url} has {words:,} words for {split}, PG-19 {WORDS[split]:,}; name the base URL of a true copy"
        )


def official_split(books: int, words: int) -> str | None:
    """The split of PG-19 that has so many books and about so many words, if one does."""
    return next((split for split in BOOKS if books == BOOKS[split] and _is_about(words, split)), None)


def _is_about(words: int, split: str) -> bool:
    return abs(words - WORDS[split]) <= WORD_TOLERANCE * WORDS[split]
