"""``seqmem generate-audio`` with tiny models whose weights nobody trained."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread
from safetensors.torch import save_model

from seqmem.cli import generate_audio
from seqmem.config import Recipe
from seqmem.data.codec import Codec
from seqmem.models import build_model, model_config
from seqmem.ops import bind
from seqmem.schema import validated

RATE = 2000
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """``make_run("runs/audio/1", codec={...})``: a run with a checkpoint, relative to the working folder."""
    monkeypatch.chdir(tmp_path)

    def make(folder: str, codec: dict[str, Any] | None, model: str = "lstm", age: float = 0, **changes: Any) -> Path:
        values = {
            "name": "tiny",
            "description": "for tests",
            "data": {"corpus": "kjv" if codec is None else "sine"},
            "codec": None if codec is None else {"sample_rate": RATE} | codec,
            "model": {"name": model, "size": "tiny"} | changes,
            "generate": {"seconds": 0.5, "temperature": 1.0, "top_p": 1.0},
        }
        recipe = validated(Recipe, values, "test")
        config = model_config(recipe.model_name, **recipe.model_overrides, **recipe.vocabulary_settings)
        torch.manual_seed(0)
        checkpoint = Path(folder) / "checkpoints" / "step-00000001"
        checkpoint.mkdir(parents=True)
        save_model(build_model(config, bind("pytorch")), str(checkpoint / "model.safetensors"))
        about = {"format": 1, "model": {"name": model, **config.model_dump()}, "recipe": recipe.model_dump(mode="json")}
        (checkpoint / "config.json").write_text(json.dumps(about))
        if recipe.codec:
            Codec(recipe.codec).save(checkpoint / "codec")
        os.utime(checkpoint, (time.time() - age,) * 2)
        return Path(folder)

    return make


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    """Eight-bit mu-law, in ``run``."""
    return make_run("run", {})


def heard(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert soundfile.info(path).subtype == "PCM_16"
    return samples


def test_a_sound_and_its_picture_are_written_into_the_run(seqmem, run: Path):
    finished = seqmem("generate-audio", run)
    assert finished.code == 0, finished.err
    assert len(heard(run / "samples/seed-1.wav")) == RATE // 2
    assert imread(run / "samples/seed-1.png").ndim == 3
    about, speed, sound, picture = finished.out.splitlines()
    assert about.startswith("run: lstm/tiny, mu-law")
    assert re.fullmatch(r"[\d,]+ samples/s, real-time factor [\d.e+-]+ \(seconds for a second of sound\)", speed)
    assert (sound, picture) == ("run/samples/seed-1.wav", "run/samples/seed-1.png")


def test_the_noise_of_an_untrained_model_is_warned_of(seqmem, run: Path):
    finished = seqmem("generate-audio", run, "--seconds", 1)
    assert finished.err == "warning: run/samples/seed-1.wav: noise from 0.0 s to 1.0 s\n"


def test_options_decide(seqmem, run: Path):
    options = ("--seconds", 0.25, "--seed", 3, "--temperature", 0.7, "--top-p", 0.5, "--backend", "pytorch")
    for name in ("a", "b"):
        assert seqmem("generate-audio", run, "--out", f"new/{name}.wav", *options).code == 0
    assert seqmem("generate-audio", run, "--out", "c.wav", *options, "--seed", 4).code == 0
    assert seqmem("generate-audio", run, "--out", "d.wav", *options, "--temperature", 1.5).code == 0
    first = heard(Path("new/a.wav"))
    assert len(first) == RATE // 4
    np.testing.assert_array_equal(first, heard(Path("new/b.wav")))
    assert (first != heard(Path("c.wav"))).any()
    assert (first != heard(Path("d.wav"))).any()


def test_a_batch_is_numbered_and_its_sounds_differ(seqmem, run: Path):
    finished = seqmem("generate-audio", run, "--batch", 3, "--out", "x.wav", "--seconds", 0.2)
    assert finished.code == 0, finished.err
    assert finished.out.splitlines()[2:] == [f"x-{i}.{kind}" for i in (1, 2, 3) for kind in ("wav", "png")]
    sounds = [heard(Path(f"x-{i}.wav")) for i in (1, 2, 3)]
    assert (sounds[0] != sounds[1]).any()
    assert (sounds[1] != sounds[2]).any()


@pytest.mark.parametrize("codec", [{"kind": "linear"}, {"levels": 64}, {"kind": "two-byte"}], ids=str)
def test_every_codec_of_classes_is_read_from_the_checkpoint(seqmem, make_run: MakeRun, codec: dict[str, Any]):
    run = make_run("run", codec, "wavenet")
    finished = seqmem("generate-audio", run, "--seconds", 0.1)
    assert finished.code == 0, finished.err
    samples = heard(run / "samples/seed-1.wav")
    assert len(samples) == RATE // 10
    grid = Codec.load(run / "checkpoints/step-00000001/codec")
    np.testing.assert_array_equal(grid.decode(grid.encode(samples)), samples)


def test_a_prompt_of_another_rate_and_two_channels_is_gone_on_from(seqmem, make_run: MakeRun):
    run = make_run("run", {}, init_std=1.0)
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (3000, 2))
    soundfile.write("prompt.flac", sound, 6000)
    for name, options in {"with": ("--prompt", "prompt.flac"), "without": ()}.items():
        finished = seqmem("generate-audio", run, "--out", f"{name}.wav", *options)
        assert finished.code == 0, finished.err
    assert len(heard(Path("with.wav"))) == len(heard(Path("without.wav"))) == RATE // 2
    assert (heard(Path("with.wav")) != heard(Path("without.wav"))).any()


def test_without_a_run_the_newest_that_makes_sound_is_taken(seqmem, make_run: MakeRun):
    make_run("runs/fsdd/older", {}, age=100)
    make_run("runs/audio/newer", {}, age=50)
    make_run("runs/text/newest", None)
    broken = make_run("runs/other/broken", {})
    (broken / "checkpoints/step-00000001/config.json").write_text("{")
    finished = seqmem("generate-audio", "--seconds", 0.1)
    assert finished.code == 0, finished.err
    assert finished.out.startswith("runs/audio/newer: lstm/tiny")
    assert Path("runs/audio/newer/samples/seed-1.wav").exists()


@pytest.mark.parametrize("text_run", [False, True])
def test_where_nothing_makes_sound_it_says_how_to_make_it(seqmem, make_run: MakeRun, text_run: bool):
    if text_run:
        make_run("runs/text/1", None)
    finished = seqmem("generate-audio")
    assert (finished.code, finished.out) == (1, "")
    assert finished.err == (
        "error: no audio run in folder 'runs'; make one by seqmem train recipes/audio, or name a run\n"
    )


def test_what_cannot_be_is_one_line(seqmem, make_run: MakeRun, run: Path):
    make_run("text", None)
    Path("notes.txt").write_text("no sound")
    for arguments, message in {
        ("nowhere",): "run 'nowhere' does not exist",
        ("text",): "run 'text' was trained on text; name an audio run, or write text by seqmem generate text",
        (run, "--out", "x.mp3"): "--out 'x.mp3': only WAV files are written; give a name that ends in .wav",
        (run, "--prompt", "notes.txt"): "notes.txt",
    }.items():
        finished = seqmem("generate-audio", *arguments)
        assert (finished.code, finished.out, finished.err.count("\n")) == (1, "", 1)
        assert message in finished.err


@pytest.mark.parametrize("options", [("--seconds", 0), ("--batch", 0), ("--top-p", 0), ("--prompt", "none.wav")])
def test_misuse_is_refused(seqmem, options: tuple):
    assert seqmem("generate-audio", *options).code == 2


def test_a_killed_run_leaves_a_playable_file(run: Path):
    command = [sys.executable, "-m", "seqmem", "generate-audio", str(run), "--seconds", "100000", "--out", "x.wav"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    file = Path("x.wav")
    while not file.exists() or file.stat().st_size < 44 + RATE:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    samples = heard(file)
    assert len(samples) >= RATE // 2
    assert len(samples) % (RATE // 4) == 0


def test_the_bar_shows_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    class Generator:
        def blocks(self, num_samples: int):
            yield np.zeros((1, num_samples), np.int16)

    generate_audio._write(Generator(), 1.0, RATE, [tmp_path / "x.wav"])  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    generate_audio._write(Generator(), 1.0, RATE, [tmp_path / "x.wav"])  # type: ignore[arg-type]
    assert "1.0 of 1 s" in capsys.readouterr().err


def test_the_first_of_several_blocks_is_not_timed():
    assert generate_audio._samples_per_second([(0, 5.0), (40, 25.0), (80, 26.0), (100, 26.5)]) == 40
    assert generate_audio._samples_per_second([(0, 5.0), (40, 25.0)]) == 2
