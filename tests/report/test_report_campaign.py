"""Runs trained in processes of their own."""

import fcntl
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from seqmem.config import Recipe
from seqmem.errors import SeqmemError
from seqmem.recipe import load_recipe, parse_value
from seqmem.report.campaign import Job, _toml, num_at_once, train_all
from seqmem.train.checkpoint import newest_checkpoint

RECIPE = """
name = "tiny"
description = "for tests"
[data]
path = "FOLDER/text"
[tokenizer]
kind = "bpe"
vocab_size = 300
[model]
name = "lstm"
num_layers = 1
d_model = 8
segment_len = 8
[train]
batch_size = 2
warmup_steps = 1
log_every = 1
num_threads = 1
[eval]
batch_size = 64
[generate]
tokens = 4
"""


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """``job(steps=10)`` trains a tiny LSTM into the folder ``run``."""
    (tmp_path / "text").mkdir()
    text = "\n".join(f"Line {number} of a text that is {number * number} lines long." for number in range(400))
    (tmp_path / "text/one.txt").write_text(text)
    source = tmp_path / "tiny.toml"
    source.write_text(RECIPE.replace("FOLDER", str(tmp_path)))

    def make(**train: Any) -> Job:
        settings = {f"train.{key}": value for key, value in train.items()}
        return Job("tiny [fast], seed 1", tmp_path / "run", str(source), settings, load_recipe(str(source), settings))

    return make


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def steps(job: Job) -> list[int]:
    """Of the records in the job's metrics, none as long as there are none."""
    metrics = job.folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return [record["step"] for record in map(json.loads, lines) if "loss" in record]


def train_until(begun: Callable[[], object], job: Job, console: Console) -> None:
    """Stop training of ``job`` when ``begun`` becomes true."""

    def stop() -> None:
        deadline = time.monotonic() + 300
        while not begun() and time.monotonic() < deadline:
            time.sleep(0.02)
        if begun():
            os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert not train_all([job], console)
    stopper.join()
    assert not job.is_finished()


def test_a_stopped_campaign_goes_on_and_what_is_done_stays(job: Callable[..., Job], console: Console):
    long = job(steps=3000, eval_every=3000, checkpoint_every=3000)
    train_until(lambda: steps(long), long, console)
    taken = steps(long)[-1]
    assert list(long.folder.glob("checkpoints/step-*")) == [long.folder / f"checkpoints/step-{taken:08d}"]

    shorter = job(steps=taken + 2, eval_every=3000, checkpoint_every=3000)
    assert train_all([shorter], console)
    assert steps(shorter) == list(range(1, taken + 3))
    said = shorter.log.read_text()
    assert train_all([shorter], console)
    assert shorter.log.read_text() == said
    assert f"1/1  tiny [fast], seed 1: {shorter.folder}\n" in console.file.getvalue()


def test_a_run_stopped_before_it_logged_goes_on(job: Callable[..., Job], console: Console):
    length = {"log_every": 3000, "eval_every": 3000, "checkpoint_every": 1}
    long = job(steps=3000, **length)
    train_until(lambda: newest_checkpoint(long.folder), long, console)
    assert (long.folder / "metrics.jsonl").read_text() == ""
    taken = int(newest_checkpoint(long.folder).name.removeprefix("step-"))
    assert train_all([job(steps=taken + 1, **length)], console)
    assert steps(long) == [taken + 1]


def test_a_failed_run_is_named_with_its_last_words(job: Callable[..., Job], console: Console):
    broken = job(steps=1)
    Path(broken.source).write_text("name = 1")
    with pytest.raises(
        SeqmemError, match=r"training of tiny \[fast\], seed 1 ended with exit code 1: error: .*see .*train\.log"
    ):
        train_all([broken], console)


def test_a_run_with_other_settings_is_not_taken_for_this_one(job: Callable[..., Job]):
    before, now = job(steps=5), job(steps=5, lr=0.5)
    (before.folder / "checkpoints/step-00000005").mkdir(parents=True)
    (before.folder / "config.json").write_text(before.recipe.model_dump_json())
    assert before.is_finished()
    assert not job(steps=6).is_finished()
    with pytest.raises(SeqmemError, match=r"was trained with another train\.lr; remove it"):
        now.is_finished()


def test_a_run_is_trained_by_one_process_at_a_time(job: Callable[..., Job], console: Console):
    contested = job(steps=5)
    contested.folder.mkdir()
    with contested.log.open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        with pytest.raises(SeqmemError, match="is being trained by another process"):
            train_all([contested], console)


def test_settings_reach_the_command_line_as_they_are():
    for value in (1e-3, True, "auto", "1984", 'a "word" ü', [16, -1], {"long": 64, "layers": "first-2"}):
        assert parse_value(_toml(value)) == value


@pytest.mark.parametrize(
    ("has_gpu", "num_threads", "expected"),
    [(False, 1, 4), (False, 3, 1), (False, 8, 1), (False, None, 1), (True, 1, 1)],
)
def test_as_many_runs_at_once_as_the_cores_hold_or_one_on_a_gpu(
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    has_gpu: bool,
    num_threads: int | None,
    expected: int,
):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert num_at_once(recipe(num_threads=num_threads)) == expected
