"""A corpus from a folder of .txt or FASTA files: split by subfolders as PG-19 is, or split here in a fixed way."""

from pathlib import Path

from seqmem.data.corpus import SPLITS, Corpus, Document
from seqmem.data.fasta import is_fasta, read_records
from seqmem.errors import SeqmemError

SUBFOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
PERIOD = 20


def load(path: Path) -> Corpus:
    """Read every ``*.txt`` of a folder as one UTF-8 document, byte for byte, and every record of its FASTA files.

    Either ``train/``, ``validation/`` (or ``valid/``, ``val/``) and perhaps ``test/`` hold the files, or they lie flat,
    and their documents, sorted by the names of their files, are split as :func:`split_documents` says.

    Raises:
        SeqmemError: no such folder, no .txt or FASTA in it, an empty or non-UTF-8 file, records that cannot be read, or
            too little text for a split.
    """
    if not path.is_dir():
        raise SeqmemError(f"data '{path}' does not exist; name a folder of .txt files, or a file")
    if any((path / name).is_dir() for names in SUBFOLDERS.values() for name in names):
        splits, how = {split: _subfolder(path, split) for split in SPLITS}, "split by subfolders"
    else:
        splits, how = split_documents(_documents(path))
    for split in ("train", "validation"):
        if not splits[split]:
            raise SeqmemError(f"data folder '{path}': too little text to make a {split} split; add more")
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    return Corpus(path.resolve().name, f"Folder {path.resolve()}: {counts} documents; {how}.", splits)


def _subfolder(path: Path, split: str) -> list[Document]:
    found = [path / name for name in SUBFOLDERS[split] if (path / name).is_dir()]
    if found:
        return _documents(found[0])
    if split == "test":
        return []
    expected = " or ".join(f"{name}/" for name in SUBFOLDERS[split])
    raise SeqmemError(f"data folder '{path}' has subfolders of a split corpus but no {expected}; add it")


def _documents(folder: Path) -> list[Document]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and (is_fasta(file) or _is_text(file)))
    if not files:
        raise SeqmemError(f"data folder '{folder}' holds no .txt file and no FASTA; put such files into it")
    return [document for file in files for document in read_documents(file)]


def _is_text(file: Path) -> bool:
    return file.suffix.lower() == ".txt"


def read_documents(file: Path) -> list[Document]:
    """The records of a FASTA file; any other is one document of UTF-8."""
    return read_records(file) if is_fasta(file) else [Document(file.stem, read_text(file))]


def read_text(file: Path) -> str:
    """A file of UTF-8, byte for byte."""
    try:
        text = file.read_bytes().decode("utf-8")  # read_text would turn \r\n into \n
    except UnicodeDecodeError as error:
        raise SeqmemError(f"{file} is not UTF-8 at byte {error.start}; convert it, e.g. with iconv") from None
    if not text.strip():
        raise SeqmemError(f"{file} is empty; remove it or give it text")
    return text


def split_documents(documents: list[Document]) -> tuple[dict[str, list[Document]], str]:
    """Documents by split, and how they were split in words.

    The tenth and the twentieth of every twenty go to validation and test; where there are fewer than twenty, each
    gives its first 90 % to train, the next 5 % to validation and the last 5 % to test, cut at line borders.
    """
    if len(documents) < PERIOD:
        return cut_each(documents), "each document cut 90/5/5"
    return _deal(documents), f"split by document: validation and test get one each of every {PERIOD}"


def _deal(documents: list[Document]) -> dict[str, list[Document]]:
    splits: dict[str, list[Document]] = {split: [] for split in SPLITS}
    held_out = {PERIOD // 2 - 1: "validation", PERIOD - 1: "test"}
    for index, document in enumerate(documents):
        splits[held_out.get(index % PERIOD, "train")].append(document)
    return splits


def cut_each(documents: list[Document]) -> dict[str, list[Document]]:
    """Of every document its first 90 %, the next 5 % and the last 5 %, cut at line borders."""
    splits: dict[str, list[Document]] = {split: [] for split in SPLITS}
    for document in documents:
        text = document.text
        first, second = _border(text, 0.90), _border(text, 0.95)
        for split, part in zip(SPLITS, (text[:first], text[first:second], text[second:]), strict=True):
            if part:
                splits[split].append(Document(document.name, part))
    return splits


def _border(text: str, share: float) -> int:
    """The first line border at or within 2 % after ``share`` of the text; ``share`` itself where lines are long."""
    target = round(len(text) * share)
    newline = text.find("\n", target, target + len(text) // 50)
    return target if newline < 0 else newline + 1
