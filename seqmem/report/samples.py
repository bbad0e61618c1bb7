"""What the entries of a comparison sound like: a file and a picture of each, beside the table."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from seqmem.generate.wav import read_wav
from seqmem.ops import bind
from seqmem.report.entries import Entry
from seqmem.report.runs import RunRecord
from seqmem.report.sound import draw_sound
from seqmem.train.checkpoint import load, load_codec
from seqmem.train.device import default_device
from seqmem.train.sample import leave_sample

FOLDER = "samples"


def collect_sounds(entries: Sequence[Entry], out: Path) -> dict[str, Path]:
    """Put the sound that each entry's first run left at its end, and its picture, into ``out / "samples"``.

    Returns:
        The WAV file of each entry of sound, seen from ``out``; none of text.
    """
    sounds = {}
    for entry in entries:
        run = entry.runs[0]
        if run.recipe.codec:
            sound = Path(FOLDER, f"{entry.name.replace('/', '-')}.wav")
            (out / FOLDER).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_sample_of(run), out / sound)
            title = f"{entry.name}, seed {run.recipe.train.seed}"
            draw_sound(read_wav(out / sound), run.recipe.codec.sample_rate, (out / sound).with_suffix(".png"), title)
            sounds[entry.name] = sound
    return sounds


def _sample_of(run: RunRecord) -> Path:
    """The sound in the run's folder, made now if training was stopped before it was made."""
    file = run.path / "sample.wav"
    if not file.is_file():
        model = load(run.path, bind(run.recipe.backend)).to(default_device())
        leave_sample(model, load_codec(run.path), run.recipe, run.path)
    return file
