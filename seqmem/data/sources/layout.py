"""A corpus from a file or a folder: split by subfolders as PG-19 is, or split here in a fixed way."""

from collections.abc import Callable

from seqmem.config import Location
from seqmem.data.corpus import SPLITS, Corpus, Splits, identity_of
from seqmem.data.sources.files import File, below, find, is_folder
from seqmem.data.sources.records import Records, kind_of
from seqmem.data.sources.source import Source
from seqmem.data.sources.splits import cut_each, split_documents
from seqmem.data.sources.text_file import TextFile
from seqmem.errors import SeqmemError

VERSION = 1
"""Of the rules here and in what is used here: which texts a split is made of."""

SUBFOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


def load(place: Location, as_bytes: bool = False) -> Corpus:
    """The texts of a folder, or of a single file.

    Every ``*.txt`` is one document of UTF-8; of FASTA, JSON Lines and Parquet, every record is one. Folders inside a
    folder are searched as well. Either ``train/``, ``validation/`` (or ``valid/``, ``val/``) and ``test/``, or some of
    them, hold the files, or the documents, sorted by the names of their files, are split as
    :func:`~seqmem.data.sources.splits.split_documents` says.

    A single file that holds no records is text, whatever its name is. Its first 90 % are for train, the next 5 % for
    validation, the last 5 % for test, cut at line borders; ``as_bytes``, cut after ``N * 90 // 100`` and
    ``N * 95 // 100`` of its N bytes, which of enwik8 and text8 gives the usual 90, 5 and 5 million.

    Raises:
        SeqmemError: nothing is there, or nothing that can be read.
    """
    if not is_folder(place):
        (file,) = find(place)
        return _corpus(file.name, place, {"": [file]}, lambda: _divided_file(file, as_bytes), as_bytes)
    name = str(place).rstrip("/").rsplit("/", 1)[-1]
    if any(is_folder(below(place, name)) for names in SUBFOLDERS.values() for name in names):
        by_split = {split: _subfolder(place, split) for split in SPLITS}
        _refuse_the_same_book_twice(place, by_split)
        return _corpus(name, place, by_split, lambda: _divided_by_subfolders(place, by_split))
    files = _usable(place)
    return _corpus(name, place, {"": files}, lambda: _divided_folder(place, files))


def _corpus(
    name: str,
    place: Location,
    files: dict[str, list[File]],
    divide: Callable[[], tuple[Splits, str]],
    as_bytes: bool = False,
) -> Corpus:
    versions = {split: [(file.name, file.version) for file in some] for split, some in files.items()}
    return Corpus(name, str(place), identity_of(VERSION, as_bytes, versions), divide)


def _divided_file(file: File, as_bytes: bool) -> tuple[Splits, str]:
    if kind_of(file.name):
        splits, how = split_documents([file])
    elif as_bytes:
        size = file.num_bytes
        parts = TextFile.whole(file).cut_at([0, size * 90 // 100, size * 95 // 100, size])
        splits, how = {split: [part] for split, part in zip(SPLITS, parts, strict=True)}, "cut 90/5/5 by bytes"
    else:
        splits, how = cut_each([file]), "cut 90/5/5 at line borders"
    return splits, f"File {file.location}, {how}."


def _divided_by_subfolders(place: Location, files: dict[str, list[File]]) -> tuple[Splits, str]:
    splits: Splits = {split: [_whole(file) for file in some] for split, some in files.items()}
    counts = ", ".join(f"{len(files[split]):,} {split}" for split in SPLITS)
    return splits, f"Folder {place}: {counts} files; split by subfolders."


def _divided_folder(place: Location, files: list[File]) -> tuple[Splits, str]:
    splits, how = split_documents(files)
    return splits, f"Folder {place}: {len(files):,} files; {how}."


def _whole(file: File) -> Source:
    return Records(file, lambda index, text: text) if kind_of(file.name) else TextFile.whole(file)


def _subfolder(place: Location, split: str) -> list[File]:
    folders = [below(place, name) for name in SUBFOLDERS[split]]
    return next((_usable(folder) for folder in folders if is_folder(folder)), [])


def _usable(folder: Location) -> list[File]:
    files = [file for file in find(folder) if kind_of(file.name) or file.name.lower().endswith(".txt")]
    if not files:
        raise SeqmemError(
            f"data folder '{folder}' holds no .txt, .jsonl, .parquet or FASTA file; put such files into it"
        )
    for file in files:
        if not file.num_bytes:
            raise SeqmemError(f"{file.location} is empty; remove it or give it text")
    return files


def _refuse_the_same_book_twice(place: Location, by_split: dict[str, list[File]]) -> None:
    """Where names are those of books, a book in two splits would be measured after it was learnt."""
    homes: dict[str, str] = {}
    for split, files in by_split.items():
        for file in files:
            if file.stem.isdecimal() and homes.setdefault(file.stem, split) != split:
                raise SeqmemError(
                    f"data folder '{place}': book {file.stem} is in {homes[file.stem]}/ and in {split}/; remove one"
                )
