"""A corpus: named documents in three splits, from a folder of text files, from a file or from the installation."""

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


def load_corpus(config: DataConfig, as_bytes: bool = False) -> Corpus:
    """The corpus a recipe names: the folder or file ``path`` where given, else the embedded ``corpus``.

    Args:
        config: the recipe's section.
        as_bytes: of a file, see :func:`seqmem.data.file.load`.

    Raises:
        SeqmemError: folder or file are missing or hold no usable text, or the embedded text is not installed.
    """
    # Imported here because these modules build on the types above.
    from seqmem.data import file, folder, kjv

    if config.path and config.path.is_file():
        return file.load(config.path, as_bytes)
    return folder.load(config.path) if config.path else kjv.load()
