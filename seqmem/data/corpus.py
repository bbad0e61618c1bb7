"""A corpus: texts in three splits, from a folder, a file or the installation."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from seqmem.config import DataConfig
from seqmem.data.sources.source import Source
from seqmem.errors import SeqmemError

SPLITS = ("train", "validation", "test")

Splits = dict[str, Sequence[Source]]


@dataclass(frozen=True)
class Corpus:
    """Texts by split, which are looked at no sooner than somebody asks for them.

    Attributes:
        place: where it is: a path, a URL or a corpus's name.
        identity: equal ones mean equal texts in equal splits.
        divide: gives the splits, and the sentence a run prints about where its numbers come from.
    """

    name: str
    place: str
    identity: str
    divide: Callable[[], tuple[Splits, str]]

    @cached_property
    def _divided(self) -> tuple[Splits, str]:
        return self.divide()

    @property
    def splits(self) -> Splits:
        """What is read for each of the three splits, in order."""
        return self._divided[0]

    @property
    def note(self) -> str:
        """Where the texts come from and how they were split."""
        return self._divided[1]

    def need(self, *splits: str) -> None:
        """Refuse a corpus without texts for one of ``splits``.

        Raises:
            SeqmemError: says which.
        """
        for split in splits:
            if not any(source.num_bytes for source in self.splits[split]):
                raise SeqmemError(
                    f"data '{self.place}': no text for a {split} split; add more, or put files into folders "
                    f"{', '.join(f'{name}/' for name in SPLITS)}"
                )

    def documents(self, split: str) -> Iterator[tuple[str, str]]:
        """Name and text of each document of a split, of which one is in memory at a time."""
        name, parts = None, list[str]()
        for piece in (piece for source in self.splits[split] for piece in source.pieces()):
            if piece.begins is not None:
                if name is not None:
                    yield name, "".join(parts)
                name, parts = piece.begins, []
            parts.append(piece.text)
        if name is not None:
            yield name, "".join(parts)


def identity_of(*facts: Any) -> str:
    """A hash of JSON values that decide what a corpus is."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def load_corpus(config: DataConfig, as_bytes: bool = False) -> Corpus:
    """The corpus a recipe names: the folder or file ``path`` where given, else the embedded ``corpus``.

    Args:
        config: the recipe's section.
        as_bytes: of a single file, see :func:`seqmem.data.sources.layout.load`.

    Raises:
        SeqmemError: folder or file are missing or hold no usable text, the embedded text is not installed, or the
            recipe wants data that the user has to download.
    """
    # Imported here because these modules build on the types above.
    from seqmem.data.sources import kjv, layout

    config.check_is_there()
    return layout.load(config.path, as_bytes) if config.path else kjv.load()
