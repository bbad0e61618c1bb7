"""Sounds for a recipe: the user's files, converted once and kept, or a corpus that comes with the installation."""

import hashlib
import json
from pathlib import Path

import numpy as np

from seqmem.config import DataConfig
from seqmem.data import audio_store
from seqmem.data.audio_cache import directory, made_once
from seqmem.data.audio_prepare import prepare
from seqmem.data.audio_report import Measures, Report
from seqmem.data.audio_store import AudioStore
from seqmem.data.corpus import SPLITS
from seqmem.data.samples import to_int16
from seqmem.errors import SeqmemError

RULE = "each split made from seeds of its own"


def load_sounds(config: DataConfig, sample_rate: int) -> AudioStore:
    """The sounds a recipe names: those in ``path`` where it is given, else the embedded ``corpus``.

    ``path`` is a store that was prepared, or else what :func:`seqmem.data.audio_prepare.prepare` takes.

    Raises:
        SeqmemError: nothing usable is there, or the recipe wants data that the user has to download.
    """
    config.check_is_there()
    if config.path is None:
        return _embedded(config.corpus, sample_rate)
    if not isinstance(config.path, Path):
        raise SeqmemError(f"sounds '{config.path}' are not on this machine; fetch them and name their folder")
    return AudioStore.open(config.path) if audio_store.is_store(config.path) else prepare(config.path, sample_rate)


def _embedded(name: str, sample_rate: int) -> AudioStore:
    """A corpus of the installation; made again where the program that makes it has changed."""
    from seqmem.data import synthesiser

    program = hashlib.sha256(Path(synthesiser.__file__).read_bytes()).hexdigest()
    identity = json.dumps([audio_store.FORMAT, name, sample_rate, program])
    sources = hashlib.sha256(identity.encode()).hexdigest()
    folder = directory() / f"{name}-{sources[:12]}"

    def make(_: Path) -> AudioStore:
        return _write(folder, name, synthesiser.recordings(name, sample_rate), sample_rate, sources)

    return made_once(folder, sources, make)


def _write(folder: Path, name: str, sounds: dict[str, list[np.ndarray]], sample_rate: int, sources: str) -> AudioStore:
    measures = Measures()
    samples = {split: [to_int16(sound) for sound in sounds[split]] for split in SPLITS}
    for split in SPLITS:
        for sound, made in zip(sounds[split], samples[split], strict=True):
            measures.add_source(sound)
            measures.add_samples(made, sample_rate)
    num_samples = {split: sum(map(len, samples[split])) for split in SPLITS}
    report = Report.build(sample_rate, RULE, sum(map(len, samples.values())), num_samples, measures)
    recordings = {
        split: [(f"{split}-{number}", [sound]) for number, sound in enumerate(samples[split])] for split in SPLITS
    }
    note = f"Corpus '{name}', made here at {sample_rate:,} samples/s; {RULE}."
    return audio_store.write(folder, sample_rate, recordings, note, sources, report)
