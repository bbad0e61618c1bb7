"""``seqmem compare`` and ``seqmem plot``: from a recipe to trained runs, a table and figures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.corpus import SPLITS, Corpus
from seqmem.data.sources.source import Text
from seqmem.data.store.build import tokenized

RECIPE = """
name = "tiny"
description = "runs of a second"
[data]
path = "books"
[tokenizer]
kind = "bpe"
vocab_size = 300
[model]
name = "transformer-xl"
num_layers = 1
d_model = 16
num_heads = 2
head_dim = 8
d_inner = 16
segment_len = 8
mem_len = 8
[train]
steps = 6
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
tokens = 4
"""
COMPARISON = """
title = "Does memory help?"
seeds = [7]
baseline = "xl"
[runs.control]
model.mem_len = 0
backend = "pytorch"
[runs.xl]
"""
FILES = {"compare.md", "compare.csv", "compare.json", "compare.png", "expected.json"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "books").mkdir()
    text = "\n".join(f"And the {number}th line tells of {number * number} ships." for number in range(600))
    (folder / "books/one.txt").write_text(text)
    (folder / "tiny").mkdir()
    (folder / "tiny/recipe.toml").write_text(RECIPE)
    (folder / "tiny/compare.toml").write_text(COMPARISON)
    return folder


@pytest.fixture
def compared(seqmem: Callable, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished comparison, made by the first test that wants it."""
    monkeypatch.chdir(workplace)
    out = workplace / "runs/compare-tiny"
    if not out.exists():
        finished = seqmem("compare", "--recipe", "tiny")
        assert finished.code == 0, finished.err
        assert "| xl " in finished.out
    return out


def test_a_recipe_becomes_a_table(compared: Path):
    assert {file.name for file in compared.iterdir()} >= FILES
    comparison = json.loads((compared / "compare.json").read_text())
    assert comparison["budget"]["tokens"] == 6 * 2 * 8
    assert comparison["budget"]["seconds"] > 0
    entries = {entry["name"]: entry for entry in comparison["entries"]}
    assert entries.keys() == {"control", "xl"}
    for entry in entries.values():
        records = (compared / "runs" / entry["name"] / "seed-7/metrics.jsonl").read_text().splitlines()
        by_step = {record["step"]: record.get("validation_bits_per_byte") for record in map(json.loads, records)}
        assert entry["bits_per_byte"]["values"] == [pytest.approx(by_step[6])]
        assert entry["training_tokens_per_second"] > 0
        assert entry["generation_tokens_per_second"] > 0
        assert entry["peak_memory_mb"] > 0
    assert entries["xl"]["tokens_in_equal_seconds"] == pytest.approx(6 * 2 * 8)
    expected = json.loads((compared / "expected.json").read_text())["entries"]
    assert expected == {
        name: pytest.approx(entry["bits_per_byte"]["mean"], abs=1e-4) for name, entry in entries.items()
    }


def test_a_second_call_trains_nothing(seqmem: Callable, compared: Path, workplace: Path):
    logs = {file: file.read_text() for file in compared.glob("runs/*/*/train.log")}
    assert len(logs) == 2
    (workplace / "tiny/expected.json").write_text((compared / "expected.json").read_text())
    finished = seqmem("compare", "--recipe", "tiny")
    assert finished.code == 0, finished.err
    assert "Measuring the speed" not in finished.out
    assert "All entries are within 0.02 bits/byte of expected.json." in finished.out
    assert {file: file.read_text() for file in logs} == logs


def test_a_recipe_is_compared_on_other_data(seqmem: Callable, compared: Path, tmp_path: Path):
    file = tmp_path / "one.txt"
    file.write_text("\n".join(f"The {number}th line is another." for number in range(600)))
    finished = seqmem("compare", "--recipe", "tiny", "--data", file, "--out", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert f"File {file}, cut 90/5/5 at line borders." in finished.out
    assert json.loads((tmp_path / "out/expected.json").read_text())["data"] == "one.txt"
    refused = seqmem("compare", "--recipe", "tiny", "--data", file)
    assert "was trained with another data.path" in refused.err
    assert "--data is what --recipe RECIPE trains on" in seqmem("compare", compared, "--data", file).err


def test_runs_become_a_table(seqmem: Callable, compared: Path):
    finished = seqmem("compare", *sorted(compared.glob("runs/*/seed-7")), "--out", "chosen")
    assert finished.code == 0, finished.err
    assert {file.name for file in Path("chosen").iterdir()} >= FILES - {"expected.json"}
    table = json.loads(Path("chosen/compare.json").read_text())
    assert table["baseline"] == "control/seed-7"
    assert {entry["name"] for entry in table["entries"]} == {"control/seed-7", "xl/seed-7"}
    assert table["budget"]["tokens"] == 6 * 2 * 8


def test_a_run_is_drawn_into_its_folder(seqmem: Callable, compared: Path):
    run = compared / "runs/xl/seed-7"
    finished = seqmem("plot", run)
    assert finished.code == 0, finished.err
    names = ["loss", "bits_per_byte", "grad_norm", "throughput", "attention"]
    assert finished.out.splitlines() == [str(run / "plots" / f"{name}.png") for name in names]
    assert {file.name for file in (run / "plots").iterdir()} == {f"{name}.png" for name in names}


def test_spectra_are_drawn_and_written_on_demand(seqmem: Callable, compared: Path, tmp_path: Path):
    finished = seqmem("plot", compared / "runs/xl/seed-7", "--spectrum", "--out", tmp_path)
    assert finished.code == 0, finished.err
    assert finished.out.splitlines()[-2:] == [str(tmp_path / "spectrum.png"), str(tmp_path / "spectrum.json")]
    ((heads,),) = json.loads((tmp_path / "spectrum.json").read_text()).values()
    assert np.array(heads).shape == (2, 8)


@pytest.mark.parametrize(
    ("num_tokens", "reason"), [(0, "has no folder tokens"), (20, "20 validation tokens do not fill its memory")]
)
def test_what_hinders_one_figure_hinders_no_other(
    seqmem: Callable, compared: Path, tmp_path: Path, num_tokens: int, reason: str
):
    run = tmp_path / "xl"
    shutil.copytree(compared / "runs/xl/seed-7", run, ignore=shutil.ignore_patterns("plots"))
    if num_tokens:
        splits = {split: [Text("text", "x" * (num_tokens - 1))] for split in SPLITS}
        tokenized(Corpus("few", "here", "1", lambda: (splits, "")), ByteTokenizer()).save(run / "tokens")
    else:
        shutil.rmtree(run / "tokens")
    finished = seqmem("plot", run)
    assert finished.code == 0, finished.err
    names = ["loss", "bits_per_byte", "grad_norm", "throughput"]
    assert finished.out.splitlines() == [str(run / "plots" / f"{name}.png") for name in names]
    assert finished.err.startswith(f"attention of xl is not drawn: run '{run}'")
    assert reason in finished.err
    assert finished.err.count("\n") == 1


def test_several_runs_are_drawn_into_one_folder(seqmem: Callable, compared: Path):
    finished = seqmem("plot", *sorted(compared.glob("runs/*/seed-7")), "--out", "drawn")
    assert finished.code == 0, finished.err
    assert finished.out.splitlines()[0] == str(Path("drawn/loss.png"))


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("compare",), 2, "Name either runs or --recipe RECIPE"),
        (("compare", "runs/none"), 1, "error: run 'runs/none' does not exist"),
        (("compare", "--recipe", "tinny"), 1, "error: no file, folder or built-in recipe 'tinny'"),
        (("compare", "--recipe", "pg19"), 1, "error: recipe 'pg19' has no compare.toml beside it"),
        (("plot",), 2, "Missing argument 'RUN...'"),
        (("plot", "books"), 1, "error: run 'books' has no metrics.jsonl"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_a_line(
    seqmem: Callable,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    error: str,
):
    monkeypatch.chdir(workplace)
    finished = seqmem(*arguments)
    assert finished.code == code
    assert error in finished.err
    assert "Traceback" not in finished.err
