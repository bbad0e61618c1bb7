"""Sound files -> 16-bit samples at one rate, by several processes, in pieces that survive a kill.

Files that follow one another share a piece: ``<hash>.i16``, the samples of the usable ones end to end, and
``<hash>.json``, what became of each. The second appears last and whole, so that it vouches for both; the hash is of the
files' names and versions and of the rate. Nothing here depends on how many processes there are.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from seqmem.data.atomic import atomic_file
from seqmem.data.audio_files import BadFileError, OpenSound, SoundFile, open_sound
from seqmem.data.audio_report import SILENCE, Measures, Verdict
from seqmem.data.audio_splits import Part
from seqmem.data.resample import resampled
from seqmem.data.samples import FULL_SCALE, to_int16
from seqmem.data.workers import in_order

VERSION = 1
"""Of what is made of a file: its samples and its verdict."""
PIECE_BYTES = 16_000_000
PIECE_FILES = 200
PIECES_WORTH_A_WORKER = 4
"""Starting a process takes as long as converting some."""
BLOCK_SAMPLES = 1 << 20
MIN_SECONDS = 0.05


@dataclass(frozen=True)
class Piece:
    """Converted files: what became of each, what was measured, and where the samples are."""

    path: Path
    verdicts: list[Verdict]
    measures: Measures

    def blocks(self, part: Part) -> Iterator[np.ndarray]:
        """The samples of a part of a file in blocks ``[n]``."""
        before = [verdict.name for verdict in self.verdicts].index(part.name)
        begin = sum(verdict.num_samples for verdict in self.verdicts[:before])
        within = part.within(self.verdicts[before].num_samples)
        for position in within[::BLOCK_SAMPLES]:
            count = min(BLOCK_SAMPLES, within.stop - position)
            yield np.fromfile(self.path, np.int16, count, offset=2 * (begin + position))


def convert(
    files: Sequence[SoundFile], sample_rate: int, folder: Path, num_workers: int, progress: Callable[[int], None]
) -> list[Piece]:
    """Convert ``files`` into pieces in ``folder``, where those that are there already are used.

    A worker holds a few blocks of about 2^18 values at a time, however long the file.

    Args:
        progress: called with the number of files done since the last call.

    Raises:
        SeqmemError: a package is missing, or a worker was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = list(_groups(files))
    pieces = []
    for group, piece in zip(groups, _converted(groups, sample_rate, folder, num_workers), strict=True):
        pieces.append(piece)
        progress(len(group))
    return pieces


def _groups(files: Iterable[SoundFile]) -> Iterator[list[SoundFile]]:
    """Files that follow one another, until they are many or large."""
    group: list[SoundFile] = []
    num_bytes = 0
    for file in files:
        group.append(file)
        num_bytes += int(file.version.split()[0]) if file.version else 0
        if num_bytes >= PIECE_BYTES or len(group) == PIECE_FILES:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group


def _converted(groups: list[list[SoundFile]], rate: int, folder: Path, num_workers: int) -> Iterator[Piece]:
    tasks = [(group, rate, folder) for group in groups]
    return in_order(_piece, tasks, min(num_workers, len(tasks) // PIECES_WORTH_A_WORKER), "converts sounds")


def _piece(task: tuple[list[SoundFile], int, Path]) -> Piece:
    """A piece that is there, or else made."""
    files, rate, folder = task
    identity = json.dumps([VERSION, rate, [(file.name, file.version) for file in files]])
    path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.i16"
    about = path.with_suffix(".json")
    if about.is_file():
        values = json.loads(about.read_text())
        return Piece(path, [Verdict(**verdict) for verdict in values["verdicts"]], Measures(**values["measures"]))
    verdicts: list[Verdict] = []
    measures = Measures()
    with atomic_file(path) as out:
        for file in files:
            verdict, more = _convert_file(file, rate, out)
            verdicts.append(verdict)
            measures += more
    with atomic_file(about) as out:
        values = {"verdicts": [asdict(verdict) for verdict in verdicts], "measures": asdict(measures)}
        out.write(json.dumps(values).encode())
    return Piece(path, verdicts, measures)


def _convert_file(file: SoundFile, rate: int, out: BinaryIO) -> tuple[Verdict, Measures]:
    """Write a file's samples to ``out``; nothing of one that is found bad on the way."""
    begin, seconds, measures = out.tell(), 0.0, Measures()
    try:
        with open_sound(file.path) as sound:
            seconds = sound.seconds
            for block in resampled(_mixed(sound, measures), sound.sample_rate, rate):
                samples = to_int16(block)
                measures.add_samples(samples, rate)
                out.write(samples.tobytes())
        _check(measures, rate)
    except BadFileError as error:
        out.seek(begin)
        out.truncate()
        return Verdict(file.name, seconds, 0, error.reason, error.detail), Measures()
    return Verdict(file.name, measures.num_samples / rate, measures.num_samples), measures


def _mixed(sound: OpenSound, measures: Measures) -> Iterator[np.ndarray]:
    """The mean of all channels, block by block."""
    for block in sound.blocks():
        measures.add_source(block)
        yield block.mean(axis=1)


def _check(measures: Measures, rate: int) -> None:
    if measures.num_samples < MIN_SECONDS * rate:
        raise BadFileError("too short", f"{measures.num_samples / rate:.3f} s, less than {MIN_SECONDS} s")
    if measures.num_silent == measures.num_samples:
        raise BadFileError("silent", f"nowhere above {20 * math.log10(SILENCE / FULL_SCALE):.0f} dB")
