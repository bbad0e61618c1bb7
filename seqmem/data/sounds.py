"""Sounds for a recipe: the user's files, converted once and kept, or a corpus that comes with the installation."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from seqmem.config import DataConfig
from seqmem.data import audio_store
from seqmem.data.audio_convert import VERSION, Piece, convert
from seqmem.data.audio_files import SoundFile, find_files
from seqmem.data.audio_report import Measures, Report, Verdict
from seqmem.data.audio_splits import LISTS, Part, split_files
from seqmem.data.audio_store import AudioStore, Recording
from seqmem.data.corpus import SPLITS
from seqmem.data.samples import to_int16
from seqmem.errors import SeqmemError

Progress = Callable[[int, int], None]
"""Told the number of files done and of all files."""


def load_sounds(config: DataConfig, sample_rate: int) -> AudioStore:
    """The sounds a recipe names: those in ``path`` where it is given, else the embedded ``corpus``.

    ``path`` is a store that was prepared, or else what :func:`prepare` takes.

    Raises:
        SeqmemError: nothing usable is there.
    """
    if config.path is None:
        return _embedded(config.corpus, sample_rate)
    return AudioStore.open(config.path) if audio_store.is_store(config.path) else prepare(config.path, sample_rate)


def prepare(
    path: Path,
    sample_rate: int,
    folder: Path | None = None,
    num_workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> AudioStore:
    """Convert the sound files of a folder tree or manifest, or one file, into a store; one that is there is opened.

    What a killed preparation had done is used by the next. Twice the store's size is needed on disk on the way.

    Args:
        sample_rate: of the store, samples a second.
        folder: of the store; its name in the user's cache tells files, their versions and the rate apart.
        num_workers: processes; one for each core when None.

    Raises:
        SeqmemError: no files, more than half of the files or of their time unusable, nothing for a split, or
            ``folder`` holds something else.
    """
    path = path.absolute()
    files = find_files(path)
    sources = _sources(path, files, sample_rate)
    folder = folder or directory() / f"{path.stem}-{sources[:12]}"

    def make(folder: Path, workplace: Path) -> None:
        done = 0

        def count(number: int) -> None:
            nonlocal done
            done += number
            progress(done, len(files))

        pieces = convert(files, sample_rate, workplace, num_workers or _num_cores(), count)
        _write(folder, path, files, pieces, sample_rate, sources)

    return _made_once(folder, sources, make)


def directory() -> Path:
    """``seqmem/sounds`` in the user's cache: ``$XDG_CACHE_HOME``, else where the platform keeps such things."""
    usual = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "seqmem" / "sounds"


def _made_once(folder: Path, sources: str, make: Callable[[Path, Path], None]) -> AudioStore:
    """The store ``folder``: as it is if it was made of ``sources``, else made anew, by one process at a time.

    Args:
        make: given ``folder`` and a workplace beside it, which stays when a process is killed.
    """
    if folder.exists() and not audio_store.is_store(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise SeqmemError(f"'{folder}' is there and no store of sounds; name another folder")
    if store := _found(folder, sources):
        return store
    workplace = folder.with_name(f".{folder.name}.parts")
    workplace.mkdir(parents=True, exist_ok=True)
    with FileLock(workplace / "lock"):
        if store := _found(folder, sources):
            return store
        make(folder, workplace)
        shutil.rmtree(workplace)
    return AudioStore.open(folder)


def _found(folder: Path, sources: str) -> AudioStore | None:
    """A store made of these sources, unless it is damaged."""
    with suppress(SeqmemError):
        store = AudioStore.open(folder)
        return store if store.sources == sources else None
    return None


def _sources(path: Path, files: Sequence[SoundFile], sample_rate: int) -> str:
    """A hash of all that a store depends on."""
    lists = [(path / name).read_text(encoding="utf-8") for name in LISTS.values() if (path / name).is_file()]
    versions = [(file.name, file.version, file.split) for file in files]
    identity = json.dumps([audio_store.FORMAT, VERSION, sample_rate, str(path), versions, lists])
    return hashlib.sha256(identity.encode()).hexdigest()


def _write(
    folder: Path, path: Path, files: Sequence[SoundFile], pieces: Sequence[Piece], sample_rate: int, sources: str
) -> None:
    """Put the store together from pieces."""
    verdicts = {verdict.name: verdict for piece in pieces for verdict in piece.verdicts}
    dropped = [verdict for verdict in verdicts.values() if verdict.reason]
    _refuse_if_most_is_dropped(path, list(verdicts.values()), dropped)
    splits = split_files(path, [file for file in files if not verdicts[file.name].reason])
    lengths = {
        split: [round((part.last - part.first) * verdicts[part.name].num_samples) for part in parts]
        for split, parts in splits.parts.items()
    }
    measures = sum((piece.measures for piece in pieces), Measures())
    report = Report.build(sample_rate, splits.rule, lengths, dropped, measures)
    recordings = {split: _recordings(splits.parts[split], pieces) for split in SPLITS}
    counts = ", ".join(f"{len(splits.parts[split]):,} {split}" for split in SPLITS)
    note = (
        f"Sounds of {path} at {sample_rate:,} samples/s: {counts} recordings; {splits.rule}; {len(dropped):,} dropped."
    )
    audio_store.write(folder, sample_rate, recordings, note, sources, report)


def _recordings(parts: Sequence[Part], pieces: Sequence[Piece]) -> Iterator[Recording]:
    homes = {verdict.name: piece for piece in pieces for verdict in piece.verdicts}
    for part in parts:
        yield part.name, homes[part.name].blocks(*part)


def _refuse_if_most_is_dropped(path: Path, verdicts: Sequence[Verdict], dropped: Sequence[Verdict]) -> None:
    seconds, lost = (sum(verdict.seconds for verdict in some) for some in (verdicts, dropped))
    if 2 * len(dropped) <= len(verdicts) and 2 * lost <= seconds:
        return
    reasons = [verdict.reason for verdict in dropped]
    counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons)))
    first = "; ".join(f"{bad.name} ({bad.reason}: {bad.detail})" for bad in dropped[:3])
    raise SeqmemError(
        f"sounds '{path}': {len(dropped)} of {len(verdicts)} files, {lost / 3600:.2f} of {seconds / 3600:.2f} hours, "
        f"cannot be used: {counts}; first: {first}; mend or remove them"
    )


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _embedded(name: str, sample_rate: int) -> AudioStore:
    """A corpus of the installation; made again where the program that makes it has changed."""
    from seqmem.data import synthesiser

    program = Path(synthesiser.__file__).read_bytes()
    identity = json.dumps([audio_store.FORMAT, name, sample_rate, hashlib.sha256(program).hexdigest()])
    sources = hashlib.sha256(identity.encode()).hexdigest()

    def make(folder: Path, workplace: Path) -> None:
        measures = Measures()
        sounds = synthesiser.recordings(name, sample_rate)
        samples = {split: [to_int16(sound) for sound in sounds[split]] for split in SPLITS}
        for split in SPLITS:
            for sound, made in zip(sounds[split], samples[split], strict=True):
                measures.add_source(sound)
                measures.add_samples(made, sample_rate)
        rule = "each split made from seeds of its own"
        lengths = {split: list(map(len, samples[split])) for split in SPLITS}
        recordings = {
            split: [(f"{split}-{number}", [sound]) for number, sound in enumerate(samples[split])] for split in SPLITS
        }
        note = f"Corpus '{name}', made here at {sample_rate:,} samples/s; {rule}."
        report = Report.build(sample_rate, rule, lengths, [], measures)
        audio_store.write(folder, sample_rate, recordings, note, sources, report)

    return _made_once(directory() / f"{name}-{sources[:12]}", sources, make)
