"""``seqmem generate-audio``: a run makes sound."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seqmem.cli.sampling import sampling_options
from seqmem.errors import SeqmemError

if TYPE_CHECKING:
    import numpy as np

    from seqmem.data.codec import Codec
    from seqmem.generate.audio import AudioGenerator


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), help="How long it shall be.  [default: the recipe's]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .wav file, playable while it grows.  [default: samples/seed-SEED.wav in the run's folder]",
)
@click.option(
    "--prompt",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A sound file to go on from, of any rate and number of channels; it is not repeated in what is written.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Make so many: x-1.wav, x-2.wav, ..."
)
@sampling_options
def command(
    run: Path | None,
    seconds: float | None,
    out: Path | None,
    prompt: Path | None,
    batch: int,
    temperature: float | None,
    top_p: float | None,
    seed: int,
    backend: str | None,
) -> None:
    """Make sound with RUN, a run's folder or one of its checkpoints; without RUN, with the newest audio run in runs.

    A picture, waveform and spectrogram, is written beside each WAV file.
    """
    import torch

    from seqmem.generate.audio import AudioGenerator
    from seqmem.generate.sampling import Sampler
    from seqmem.ops import bind
    from seqmem.train.checkpoint import load, load_codec, load_recipe_of, run_folder
    from seqmem.train.device import default_device

    run = run or newest_audio_run(Path("runs"))
    recipe = load_recipe_of(run)
    if recipe.codec is None:
        raise SeqmemError(f"run '{run}' was trained on text; name an audio run, or write text by seqmem generate {run}")
    given = {"seconds": seconds, "temperature": temperature, "top_p": top_p}
    options = recipe.generate.model_copy(update={key: value for key, value in given.items() if value is not None})
    paths = _numbered(out or _from_here(run_folder(run)) / "samples" / f"seed-{seed}.wav", batch)
    codec = load_codec(run)
    samples = _read_prompt(prompt, codec)
    model = load(run, bind(backend or recipe.backend)).to(default_device())
    sampler = Sampler(options.temperature, options.top_p, torch.Generator().manual_seed(seed))
    click.echo(f"{run}: {recipe.model_name}, {codec.describe()}")
    _write(AudioGenerator(model, codec, samples, sampler, batch), options.seconds, codec.sample_rate, paths)
    for path in paths:
        _look_at(path, codec.sample_rate)


def newest_audio_run(folder: Path) -> Path:
    """The run in ``folder`` whose checkpoint is the newest of those that make sound."""
    from seqmem.train.checkpoint import run_folder

    checkpoints = sorted(folder.glob("**/checkpoints/step-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for checkpoint in checkpoints:
        if _makes_sound(checkpoint):
            return _from_here(run_folder(checkpoint))
    raise SeqmemError(f"no audio run in folder '{folder}'; make one by seqmem train recipes/audio, or name a run")


def _from_here(path: Path) -> Path:
    """An absolute path, relative where it lies in the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _makes_sound(checkpoint: Path) -> bool:
    from seqmem.train.checkpoint import load_recipe_of

    try:
        return load_recipe_of(checkpoint).codec is not None
    except SeqmemError:
        return False


def _numbered(out: Path, count: int) -> list[Path]:
    """``x.wav`` itself, or ``x-1.wav`` ... of several."""
    if out.suffix.lower() != ".wav":
        raise SeqmemError(f"--out '{out}': only WAV files are written; give a name that ends in .wav")
    return [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(1, count + 1)]


def _read_prompt(path: Path | None, codec: Codec) -> np.ndarray:
    """Samples ``[N]`` int16 at the codec's rate; none without a prompt."""
    import numpy as np

    if path is None:
        return np.empty(0, np.int16)
    from seqmem.data.audio_read import read_sound

    return read_sound(path, codec.sample_rate)


def _write(generator: AudioGenerator, seconds: float, sample_rate: int, paths: list[Path]) -> None:
    """Fill the files, show how far they are, and say how fast it went."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from seqmem.generate.wav import stream_to_wav

    num_samples = max(1, round(seconds * sample_rate))
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.fields[done]:.1f} of {task.fields[seconds]:g} s"), TimeRemainingColumn())
    done, moments = 0, [(0, time.perf_counter())]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=num_samples, done=0.0, seconds=seconds)
        for written in stream_to_wav(generator.blocks(num_samples), paths, sample_rate):
            done += written
            moments.append((done, time.perf_counter()))
            progress.update(task, completed=done, done=done / sample_rate)
    rate = len(paths) * _samples_per_second(moments)
    click.echo(f"{rate:,.0f} samples/s, real-time factor {sample_rate / rate:.2g} (seconds for a second of sound)")


def _samples_per_second(moments: list[tuple[int, float]]) -> float:
    """From samples done and seconds, at the start and after each block; the first, which may compile, not counted."""
    (before, start), (after, end) = moments[min(1, len(moments) - 2)], moments[-1]
    return (after - before) / (end - start)


def _look_at(path: Path, sample_rate: int) -> None:
    """Draw a finished file and warn of what is wrong with it."""
    from seqmem.generate.listen import warnings_about
    from seqmem.generate.wav import read_wav
    from seqmem.report.sound import draw_sound

    samples, picture = read_wav(path), path.with_suffix(".png")
    draw_sound(samples, sample_rate, picture, path.name)
    click.echo(f"{path}\n{picture}")
    for warning in warnings_about(samples, sample_rate):
        click.echo(f"warning: {path}: {warning}", err=True)
