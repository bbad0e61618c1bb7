"""A corpus: named documents in three splits, from a folder of text files or from the installation."""

from dataclasses import dataclass

from seqmem.config import DataConfig

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    """One book, article or file."""

    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents by split; ``note`` is the sentence a run prints about where its numbers come from."""

    name: str
    note: str
    splits: dict[str, list[Document]]


def load_corpus(config: DataConfig) -> Corpus:
    """The corpus a recipe names: the folder ``path`` where given, else the embedded ``corpus``.

    Raises:
        SeqmemError: the folder is missing or holds no usable text, or the embedded text is not installed.
    """
    # Imported here because both modules build on the types above.
    from seqmem.data import folder, kjv

    return folder.load(config.path) if config.path else kjv.load()
