"""Finding sound files, in a folder tree or a manifest, and reading them block by block."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqmem.errors import SeqmemError

SUFFIXES = (".wav", ".flac", ".ogg")
BLOCK_VALUES = 1 << 18
"""Values of all channels read at a time."""
SAMPLE_RATES = (1000, 768000)
UNKNOWN = 1 << 48
"""Frames of a file whose header does not say how many it has are more."""
SHORTENED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile notes of a WAV that ends before the number of bytes it says."""
OPEN_END = 0x7FFF0000
TOLERANCE = 0.99


@dataclass(frozen=True)
class SoundFile:
    """A file that may hold sound.

    Attributes:
        name: its path within the folder or as the manifest has it, with slashes.
        version: size and time of last change, ``""`` of a file that is missing; equal versions hold the same sound.
        split: as the manifest names it, unless empty.
    """

    name: str
    path: Path
    version: str
    split: str = ""


class BadFileError(Exception):
    """A file that cannot be used; ``reason`` is shared by many files, ``detail`` is this one's own."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def find_files(path: Path) -> list[SoundFile]:
    """Every WAV, FLAC and OGG file below a folder, or those a jsonl manifest lists, or the one file; sorted by name.

    A line of a manifest is an object with ``path``, relative to the manifest, and perhaps ``split``; other keys are
    ignored. Files and folders whose names begin with a dot are passed over.

    Raises:
        SeqmemError: nothing there, or a line of the manifest is wrong.
    """
    if not path.exists():
        raise SeqmemError(f"sounds '{path}' do not exist; name a folder, a .jsonl manifest or a sound file")
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        names = {file: file.relative_to(path) for file in found}
        files = [_sound_file(name.as_posix(), file) for file, name in names.items() if not _is_hidden(name)]
    elif path.suffix.lower() == ".jsonl":
        files = _listed_files(path)
    elif path.suffix.lower() in SUFFIXES:
        files = [_sound_file(path.name, path)]
    else:
        raise SeqmemError(f"sounds '{path}': neither a folder nor a .jsonl manifest nor a .wav, .flac or .ogg file")
    if not files:
        raise SeqmemError(f"sounds '{path}': no .wav, .flac or .ogg file there; convert others, e.g. with ffmpeg")
    return sorted(files, key=lambda file: file.name)


class OpenSound:
    """A file being read.

    Attributes:
        sample_rate: samples a second.
        seconds: its length as its header has it; 0 where that does not say.
    """

    def __init__(self, file: Any):
        self._file = file
        self.sample_rate: int = file.samplerate
        self.seconds = file.frames / file.samplerate if file.frames < UNKNOWN else 0.0

    def blocks(self) -> Iterator[np.ndarray]:
        """All values in blocks ``[n, channels]`` float32; 1 is full scale.

        Raises:
            BadFileError: the file is empty or breaks off, or has values that are no numbers.
        """
        num_frames = max(1, BLOCK_VALUES // self._file.channels)
        position = 0
        while len(block := self._file.read(num_frames, dtype="float32", always_2d=True)):
            position += len(block)
            if not np.isfinite(block).all():
                raise BadFileError("NaN or infinite samples", f"before {position / self.sample_rate:.2f} s")
            yield block
        if not position:
            raise BadFileError("empty", "no samples")
        if position < self._num_promised():
            raise BadFileError("corrupt", f"breaks off after {position / self.sample_rate:.2f} s")

    def _num_promised(self) -> float:
        """Frames that must be there. A WAV written to a pipe says far too many, which is no promise."""
        shortened = SHORTENED.search(self._file.extra_info)
        promised, found = map(int, shortened.groups()) if shortened else (0, 0)
        if found < TOLERANCE * promised < OPEN_END:
            return self._file.frames + 1
        return self._file.frames if self._file.frames < UNKNOWN else 0


@contextmanager
def open_sound(path: Path) -> Iterator[OpenSound]:
    """Open a file for the time of the block.

    Raises:
        BadFileError: it is missing, empty or not a sound file, or it cannot be decoded, also while it is read.
        SeqmemError: the package soundfile is missing.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise SeqmemError(f'reading sounds needs soundfile ({error}); run: pip install "seqmem[audio]"') from None
    if not path.is_file():
        raise BadFileError("missing", "no such file")
    if not path.stat().st_size:
        raise BadFileError("empty", "0 bytes")
    try:
        # As a str, a name that is not UTF-8 is refused by soundfile.
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
            if not SAMPLE_RATES[0] <= file.samplerate <= SAMPLE_RATES[1]:
                raise BadFileError("corrupt", f"its header says {file.samplerate} samples a second")
            yield OpenSound(file)
    except soundfile.LibsndfileError as error:
        raise BadFileError("corrupt", error.error_string.rstrip(".") or "cannot be decoded") from None


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _sound_file(name: str, path: Path, split: str = "") -> SoundFile:
    try:
        status = path.stat()
    except OSError:
        return SoundFile(_printable(name), path, "", split)
    return SoundFile(_printable(name), path, f"{status.st_size} {status.st_mtime_ns}", split)


def _printable(name: str) -> str:
    """A name that need not be UTF-8 on disk."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _listed_files(manifest: Path) -> list[SoundFile]:
    files: dict[str, SoundFile] = {}
    for number, line in enumerate(manifest.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        where = f"manifest '{manifest}', line {number}"
        entry = _entry(line, where)
        name = entry["path"]
        if name in files:
            raise SeqmemError(f"{where}: '{name}' is listed a second time; leave it out")
        files[name] = _sound_file(name, manifest.parent / name, entry.get("split", ""))
    return list(files.values())


def _entry(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        raise SeqmemError(f'{where}: not JSON; write one object a line, as {{"path": "a.wav"}}') from None
    if not (isinstance(entry, dict) and isinstance(entry.get("path"), str) and isinstance(entry.get("split", ""), str)):
        raise SeqmemError(f'{where}: needs a "path", and "split" if given must be a word; as {{"path": "a.wav"}}')
    return entry
