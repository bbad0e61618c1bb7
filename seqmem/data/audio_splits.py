"""Which sounds are for training, validation and test: as their owner or their publisher says, else by a fixed rule."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seqmem.data.audio_files import SoundFile
from seqmem.data.corpus import SPLITS
from seqmem.errors import SeqmemError, nearest

SYNONYMS = {"train": "train", "test": "test"} | dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
FSDD = re.compile(r"\d_[a-z]+_(\d+)", re.IGNORECASE)
SHARES = {"train": (0.0, 0.90), "validation": (0.90, 0.95), "test": (0.95, 1.0)}


class Part(NamedTuple):
    """The stretch of a recording from the share ``first`` of its length to the share ``last``."""

    name: str
    first: float = 0.0
    last: float = 1.0

    def within(self, length: int) -> range:
        """Of a recording of ``length`` samples, the ones that are meant."""
        return range(round(self.first * length), round(self.last * length))


class Splits(NamedTuple):
    """Parts of files by split, and the rule in words."""

    parts: dict[str, list[Part]]
    rule: str


def split_files(root: Path, files: Sequence[SoundFile]) -> Splits:
    """Deal usable ``files`` to the splits; the first of these rules that fits is used.

    1. The manifest's ``split``.
    2. Subfolders ``train``, ``validation`` (``valid``, ``val``, ``dev``) and perhaps ``test``; other files are left
       out.
    3. Speech Commands' ``validation_list.txt`` and ``testing_list.txt`` in ``root``; its folder of background noise is
       left out.
    4. The Free Spoken Digit Dataset's names ``{digit}_{speaker}_{index}``: index 0-4 is test, as published; of the
       rest, index 5-9 is validation.
    5. By a hash of the file's name, 90/5/5, at least one in each; each of fewer than three files is cut 90/5/5.

    Raises:
        SeqmemError: there is nothing for training or for validation, or the manifest names no known split.
    """
    named = _by_manifest(files) or _by_folder(files) or _by_list(root, files) or _by_index(files)
    if named is None and len(files) < len(SPLITS):
        parts = {split: [Part(file.name, *SHARES[split]) for file in files] for split in SPLITS}
        return Splits(parts, "each file cut 90/5/5")
    splits, rule = named or _by_hash(files)
    parts = {split: [Part(file.name) for file in files if splits.get(file.name) == split] for split in SPLITS}
    for split in ("train", "validation"):
        if not parts[split]:
            raise SeqmemError(f"sounds '{root}', {rule}: no usable file for {split}; add one")
    return Splits(parts, rule)


Named = tuple[dict[str, str], str]
"""Split by file name, and the rule."""


def _by_manifest(files: Iterable[SoundFile]) -> Named | None:
    if not any(file.split for file in files):
        return None
    for file in files:
        if file.split not in SYNONYMS:
            given = f"has the split '{file.split}'" if file.split else "has no split, though others have"
            raise SeqmemError(f"the manifest's '{file.name}' {given}{nearest(file.split, SYNONYMS)}")
    return {file.name: SYNONYMS[file.split] for file in files}, "split by the manifest"


def _by_folder(files: Iterable[SoundFile]) -> Named | None:
    tops = {file.name: file.name.split("/")[0] for file in files if "/" in file.name}
    if "train" not in tops.values():
        return None
    return {name: SYNONYMS[top] for name, top in tops.items() if top in SYNONYMS}, "split by subfolders"


def _by_list(root: Path, files: Iterable[SoundFile]) -> Named | None:
    lists = {split: root / name for split, name in LISTS.items() if (root / name).is_file()}
    if not lists:
        return None
    listed = {name: split for split, path in lists.items() for name in path.read_text(encoding="utf-8").split()}
    words = [file.name for file in files if not file.name.startswith("_")]
    rule = f"split by {' and '.join(path.name for path in lists.values())}"
    return {name: listed.get(name, "train") for name in words}, rule


def _by_index(files: Iterable[SoundFile]) -> Named | None:
    matches = {file.name: FSDD.fullmatch(Path(file.name).stem) for file in files}
    indices = {name: int(match[1]) for name, match in matches.items() if match}
    splits = {
        name: SPLITS[2] if index < 5 else SPLITS[1] if index < 10 else SPLITS[0] for name, index in indices.items()
    }
    if len(indices) < len(matches) or set(splits.values()) != set(SPLITS):
        return None
    return splits, "split as the Free Spoken Digit Dataset is: index 0-4 test, and of the rest index 5-9 validation"


def _by_hash(files: Sequence[SoundFile]) -> Named:
    hashes = {file.name: _hash(file.name) for file in files}
    splits = {name: _holder(value) for name, value in hashes.items()}
    for split in SPLITS:
        if split not in splits.values():
            spare = _largest(splits)
            splits[min(spare, key=hashes.__getitem__)] = split
    return splits, "split by file, 90/5/5 by a hash of its name"


def _hash(name: str) -> float:
    """In [0, 1)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _holder(value: float) -> str:
    return next(split for split, (_, last) in SHARES.items() if value < last)


def _largest(splits: Mapping[str, str]) -> list[str]:
    """The names in the split that has most."""
    groups = [[name for name, owner in splits.items() if owner == split] for split in SPLITS]
    return max(groups, key=len)
