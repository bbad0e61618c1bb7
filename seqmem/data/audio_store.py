"""Sounds as 16-bit samples on disk, mapped into memory: recordings end to end, each begun by one sample of silence.

A store is a folder that appears whole or not at all: ``samples-<split>.i16``, the samples of a split in the machine's
byte order; ``starts-<split>.npy``, int64, where in them each recording's leading silence is; ``store.json``; and
``report.json``.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from seqmem.data.atomic import atomic_folder
from seqmem.data.audio_report import Report
from seqmem.data.corpus import SPLITS
from seqmem.errors import SeqmemError

FILE_NAME = "store.json"
FORMAT = 1

Recording = tuple[str, Iterable[np.ndarray]]
"""A name, and blocks ``[N]`` int16 that follow one another."""


@dataclass(frozen=True)
class AudioStore:
    """The sounds of three splits.

    Attributes:
        sample_rate: samples a second.
        note: where the sounds come from and how they were split.
        digest: 16 hex digits of rate, samples and starts; equal digests mean equal sounds.
        sources: what the sounds were made of, as :func:`write` was told.
        samples: ``[N]`` int16 by split, mapped into memory.
        starts: by split, the places in ``samples`` of the silence that begins each recording.
        names: of each recording, by split.
    """

    folder: Path
    sample_rate: int
    note: str
    digest: str
    sources: str
    samples: dict[str, np.ndarray]
    starts: dict[str, np.ndarray]
    names: dict[str, list[str]]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map a store into memory.

        Raises:
            SeqmemError: there is none, it is another version's, or a file of it is not whole.
        """
        path = folder / FILE_NAME
        fix = "prepare the sounds again with `seqmem data prepare-audio`"
        try:
            about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise SeqmemError(f"{path}: format {about['format']}, this version reads {FORMAT}; {fix}")
            starts = {split: np.load(folder / f"starts-{split}.npy") for split in SPLITS}
            samples = {split: _mapped(folder / f"samples-{split}.i16", about["num_samples"][split]) for split in SPLITS}
        except OSError as error:
            raise SeqmemError(f"{folder}: no store of sounds ({error.strerror}: {error.filename}); {fix}") from None
        except (ValueError, KeyError, TypeError):
            raise SeqmemError(f"{folder}: this store of sounds is damaged; {fix}") from None
        return cls(
            folder,
            about["sample_rate"],
            about["note"],
            about["digest"],
            about["sources"],
            samples,
            starts,
            about["names"],
        )

    @property
    def report(self) -> Report:
        """The data report."""
        return Report.load(self.folder)


def is_store(folder: Path) -> bool:
    """Whether ``folder`` is, or was meant to be, a store."""
    return (folder / FILE_NAME).is_file()


def write(
    folder: Path, sample_rate: int, splits: Mapping[str, Iterable[Recording]], note: str, sources: str, report: Report
) -> AudioStore:
    """Make the store ``folder``, replacing one that is there; no more than a block of samples is held at a time.

    Args:
        splits: the recordings of each of the three splits.
        sources: any text; it tells whether a later preparation would make the same again.
    """
    digest = hashlib.sha256(str(sample_rate).encode())
    names: dict[str, list[str]] = {}
    num_samples: dict[str, int] = {}
    with atomic_folder(folder) as partial:
        for split in SPLITS:
            starts: list[int] = []
            names[split] = []
            length = 0
            with (partial / f"samples-{split}.i16").open("wb") as file:
                for name, blocks in splits[split]:
                    names[split].append(name)
                    starts.append(length)
                    for block in chain([np.zeros(1, np.int16)], blocks):
                        content = block.tobytes()
                        file.write(content)
                        digest.update(content)
                        length += len(block)
            np.save(partial / f"starts-{split}.npy", np.array(starts, np.int64))
            digest.update(np.array([*starts, length], np.int64).tobytes())
            num_samples[split] = length
        about = {
            "format": FORMAT,
            "sample_rate": sample_rate,
            "note": note,
            "digest": digest.hexdigest()[:16],
            "sources": sources,
            "num_samples": num_samples,
            "names": names,
        }
        report.save(partial)
        (partial / FILE_NAME).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return AudioStore.open(folder)


def _mapped(path: Path, length: int) -> np.ndarray:
    if path.stat().st_size != 2 * length:
        raise ValueError
    return np.memmap(path, np.int16, "r") if length else np.zeros(0, np.int16)
