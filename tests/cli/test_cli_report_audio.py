"""``seqmem compare`` and ``seqmem plot`` on runs of sound: bits/sample, relative to the baseline, and sounds."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seqmem.config import Recipe
from seqmem.generate.wav import read_wav
from seqmem.report import speed

RECIPE = """
name = "hum"
description = "runs of a second"
[data]
corpus = "sine"
[codec]
levels = 64
sample_rate = 2000
[model]
name = "wavenet"
size = "tiny"
segment_len = 8
[train]
steps = 4
batch_size = 2
lr = 1e-2
min_lr = 1e-2
warmup_steps = 1
log_every = 2
eval_every = 2
checkpoint_every = 2
num_threads = 1
[eval]
batch_size = 64
[generate]
seconds = 0.1
"""


def measured_here(recipes: dict[str, Recipe], run: Path | None, folder: Path) -> dict[str, speed.Speed]:
    return speed._measure(dict(recipes), run, folder)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "hum.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def trained(seqmem: Callable, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A run of WaveNet and one of a Transformer-XL, trained by the first test that wants them."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("SEQMEM_DATA_CACHE", str(workplace / "cache"))
    models = {"wavenet": (), "xl": ("model.name=transformer-xl", "model.size=tiny")}
    for name, settings in models.items():
        if not Path(name).exists():
            finished = seqmem("train", "hum.toml", "--run", name, "--backend", "pytorch", *settings)
            assert finished.code == 0, finished.err
    return [Path(name) for name in models]


def test_runs_of_sound_become_a_table_with_sounds(
    seqmem: Callable, trained: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(speed, "_measure_apart", measured_here)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "GENERATED_TOKENS", 5)
    Path("xl/sample.wav").unlink()  # as of a run that was stopped before it made one
    finished = seqmem("compare", *trained, "--out", "compared")
    assert finished.code == 0, finished.err
    with Path("compared/compare.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert float(rows["wavenet"]["bits_per_sample_relative"]) == 0
    lead = float(rows["xl"]["bits_per_sample"]) - float(rows["wavenet"]["bits_per_sample"])
    assert float(rows["xl"]["bits_per_sample_relative"]) == pytest.approx(lead)
    assert all(float(row["generation_samples_per_second"]) > 0 for row in rows.values())
    text = Path("compared/compare.md").read_text()
    for name in rows:
        assert f"](samples/{name}.wav)" in text
        assert f"](samples/{name}.png)" in text
        assert len(read_wav(Path(f"compared/samples/{name}.wav"))) == 200
        assert Path(f"compared/samples/{name}.png").stat().st_size > 5000


def test_runs_of_sound_are_drawn(seqmem: Callable, trained: list[Path]):
    finished = seqmem("plot", *trained, "--out", "drawn")
    assert (finished.code, finished.err) == (0, "")
    names = ["loss", "bits_per_sample", "grad_norm", "throughput", "attention"]  # the last of xl alone
    assert [Path(line).stem for line in finished.out.splitlines()] == names


def test_a_model_without_attention_has_no_picture_of_it(seqmem: Callable, trained: list[Path]):
    finished = seqmem("plot", trained[0])
    assert (finished.code, finished.err) == (0, "")
    assert "attention" not in finished.out


def test_evaluation_says_what_to_beat_on_the_split(seqmem: Callable, trained: list[Path]):
    finished = seqmem("eval", trained[0], "--split", "test")
    assert finished.code == 0, finished.err
    costs = json.loads((trained[0] / "eval.json").read_text())["baselines"]
    (line,) = [line for line in finished.out.splitlines() if line.startswith("to beat")]
    assert all(f"{costs[name]:.3f}" in line for name in ("marginal", "fixed", "adaptive"))
    assert costs["fixed"] < costs["marginal"]


def test_sounds_missing_from_the_cache_are_made_again(seqmem: Callable, trained: list[Path]):
    before = seqmem("eval", trained[0]).out
    shutil.rmtree("cache")
    assert seqmem("eval", trained[0]).out == before
