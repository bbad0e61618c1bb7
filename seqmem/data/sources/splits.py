"""How documents that no one has split are split: the same way each time."""

from functools import partial

from seqmem.data.corpus import SPLITS, Splits
from seqmem.data.sources.files import File
from seqmem.data.sources.records import Records, kind_of, reader
from seqmem.data.sources.source import Source
from seqmem.data.sources.text_file import TextFile

PERIOD = 20
HELD_OUT = {PERIOD // 2 - 1: "validation", PERIOD - 1: "test"}
SHARES = (0.90, 0.95)


def split_documents(files: list[File]) -> tuple[Splits, str]:
    """The documents of ``files`` by split, and how they were split in words.

    The tenth and the twentieth of every twenty go to validation and test; where there are fewer than twenty, each
    gives its first 90 % to train, the next 5 % to validation and the last 5 % to test, cut at line borders.
    """
    counts = [reader(file).count(file) if kind_of(file.name) else 1 for file in files]
    number = f"{sum(counts):,} documents"
    if sum(counts) < PERIOD:
        return cut_each(files), f"{number}, each cut 90/5/5"
    rule = f"{number}, split by document: validation and test get one each of every {PERIOD}"
    return _deal(files, counts), rule


def _deal(files: list[File], counts: list[int]) -> Splits:
    splits: dict[str, list[Source]] = {split: [] for split in SPLITS}
    first = 0
    for file, count in zip(files, counts, strict=True):
        if kind_of(file.name):
            for split in {_split_of(index) for index in range(first, first + min(count, PERIOD))}:
                splits[split].append(Records(file, partial(_dealt, first, split)))
        else:
            splits[_split_of(first)].append(TextFile.whole(file))
        first += count
    return dict(splits)


def _split_of(index: int) -> str:
    return HELD_OUT.get(index % PERIOD, "train")


def _dealt(first: int, split: str, index: int, text: str) -> str | None:
    return text if _split_of(first + index) == split else None


def cut_each(files: list[File]) -> Splits:
    """Of every document its first 90 %, the next 5 % and the last 5 %, cut at line borders."""
    splits: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for file in files:
        parts: list[Source]
        if kind_of(file.name):
            parts = [Records(file, partial(_part_of, number)) for number in range(len(SPLITS))]
        else:
            parts = [*TextFile.whole(file).cut(*SHARES)]
        for split, part in zip(SPLITS, parts, strict=True):
            if part.num_bytes:
                splits[split].append(part)
    return dict(splits)


def _part_of(number: int, index: int, text: str) -> str | None:
    borders = [0, *(_border(text, share) for share in SHARES), len(text)]
    return text[borders[number] : borders[number + 1]] or None


def _border(text: str, share: float) -> int:
    target = round(len(text) * share)
    newline = text.find("\n", target, target + len(text) // 50)
    return target if newline < 0 else newline + 1
