"""From the user's sound files to a store of sounds and a report of what was found in them."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from seqmem.data import audio_store
from seqmem.data.audio_cache import directory, made_once
from seqmem.data.audio_convert import VERSION, Piece, convert
from seqmem.data.audio_files import SoundFile, find_files
from seqmem.data.audio_report import Measures, Report, Verdict
from seqmem.data.audio_splits import LISTS, Part, split_files
from seqmem.data.audio_store import AudioStore, Recording
from seqmem.data.corpus import SPLITS
from seqmem.data.workers import num_cores
from seqmem.errors import SeqmemError

Progress = Callable[[int, int], None]
"""Told the number of files done since it was told last, and of all files."""


def prepare(
    path: Path,
    sample_rate: int,
    folder: Path | None = None,
    num_workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> AudioStore:
    """Convert the sound files of a folder tree or manifest, or one file, into a store; one that is there is opened.

    What a killed preparation had done is used by the next. On the way, twice the store's size is needed on disk.

    Args:
        sample_rate: of the store, samples a second.
        folder: of the store; by default one in the user's cache, for these files as they are and this rate.
        num_workers: processes, at most; one for each core when None.

    Raises:
        SeqmemError: no files, more than half of the files or of their time unusable, nothing for a split, or
            ``folder`` holds something else.
    """
    path = path.absolute()
    files = find_files(path)
    sources = _sources(path, files, sample_rate)
    folder = folder or directory() / f"{path.stem}-{sources[:12]}"

    def make(workplace: Path) -> AudioStore:
        chosen = {part.name for parts in split_files(path, files).parts.values() for part in parts}
        in_splits = [file for file in files if file.name in chosen]
        pieces = convert(
            in_splits,
            sample_rate,
            workplace,
            num_workers or num_cores(),
            lambda done: progress(done, len(in_splits)),
        )
        try:
            return _assemble(folder, path, in_splits, pieces, sample_rate, sources)
        except SeqmemError:  # refused: other files will make other pieces
            shutil.rmtree(workplace)
            raise

    return made_once(folder, sources, make)


def _sources(path: Path, files: Sequence[SoundFile], sample_rate: int) -> str:
    """A hash of all that the store depends on."""
    lists = [(path / name).read_text(encoding="utf-8") for name in LISTS.values() if (path / name).is_file()]
    versions = [(file.name, file.version, file.split) for file in files]
    identity = json.dumps([audio_store.FORMAT, VERSION, sample_rate, str(path), versions, lists])
    return hashlib.sha256(identity.encode()).hexdigest()


def _assemble(
    folder: Path, path: Path, files: Sequence[SoundFile], pieces: Sequence[Piece], sample_rate: int, sources: str
) -> AudioStore:
    """Make the store of converted files."""
    verdicts = {verdict.name: verdict for piece in pieces for verdict in piece.verdicts}
    dropped = [verdict for verdict in verdicts.values() if verdict.reason]
    _refuse_if_most_is_dropped(path, list(verdicts.values()), dropped)
    parts, rule = split_files(path, [file for file in files if not verdicts[file.name].reason])
    num_samples = {
        split: sum(len(part.within(verdicts[part.name].num_samples)) for part in parts[split]) for split in SPLITS
    }
    measures = sum((piece.measures for piece in pieces), Measures())
    report = Report.build(sample_rate, rule, len(verdicts) - len(dropped), num_samples, measures, dropped)
    recordings = {split: _recordings(parts[split], pieces) for split in SPLITS}
    counts = ", ".join(f"{len(parts[split]):,} {split}" for split in SPLITS)
    lost = f"{len(dropped):,} of {len(verdicts):,} files dropped"
    note = f"Sounds of {path} at {sample_rate:,} samples/s: {counts} recordings; {rule}; {lost}."
    return audio_store.write(folder, sample_rate, recordings, note, sources, report)


def _recordings(parts: Sequence[Part], pieces: Sequence[Piece]) -> Iterator[Recording]:
    homes = {verdict.name: piece for piece in pieces for verdict in piece.verdicts}
    for part in parts:
        yield part.name, homes[part.name].blocks(part)


def _refuse_if_most_is_dropped(path: Path, verdicts: Sequence[Verdict], dropped: Sequence[Verdict]) -> None:
    seconds, lost = (sum(verdict.seconds for verdict in some) for some in (verdicts, dropped))
    if 2 * len(dropped) <= len(verdicts) and 2 * lost <= seconds:
        return
    reasons = [verdict.reason for verdict in dropped]
    counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons)))
    first = "; ".join(f"{bad.name} ({bad.reason}: {bad.detail})" for bad in dropped[:3])
    raise SeqmemError(
        f"sounds '{path}': {len(dropped)} of {len(verdicts)} files, {lost:,.1f} of {seconds:,.1f} s, "
        f"cannot be used: {counts}; first: {first}; mend or remove them"
    )
