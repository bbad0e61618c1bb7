"""A run folder read back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seqmem.config import Recipe
from seqmem.errors import SeqmemError
from seqmem.report.runs import RunRecord, read_run, settings_of, short_labels


def test_the_axis_is_tokens_seen(run: Callable[..., RunRecord]):
    tokens, nats = run("one", {10: 4.0, 20: 3.0}).series("validation_nats_per_token")
    assert tokens.tolist() == [160, 320]
    assert nats.tolist() == [4.0, 3.0]


def test_records_without_a_value_are_left_out(run: Callable[..., RunRecord]):
    record = run("one", {10: 4.0})
    with (record.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 20, "validation_word_perplexity": None}) + "\n")
    again = read_run(record.path)
    assert again.series("validation_word_perplexity")[0].tolist() == [160]
    assert again.series("nothing")[0].tolist() == []


def test_half_a_record_at_the_end_is_ignored(run: Callable[..., RunRecord]):
    record = run("one", {10: 4.0})
    with (record.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    assert read_run(record.path).records == record.records


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (None, "does not exist"),
        ({}, "has no metrics.jsonl"),
        ({"metrics.jsonl": "{}\n"}, "config.json"),
        ({"metrics.jsonl": "", "config.json": "{}"}, "has logged nothing yet"),
        ({"metrics.jsonl": "{}\n", "config.json": "{}"}, "key 'name' is missing"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, files: dict[str, str] | None, reason: str):
    folder = tmp_path / "run"
    if files is not None:
        folder.mkdir()
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    with pytest.raises(SeqmemError, match=reason):
        read_run(folder)


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["runs/pg19/new"], ["new"]),
        (["runs/pg19/new", "runs/pg19/old"], ["new", "old"]),
        (["runs/a/seed-1", "runs/b/seed-1"], ["a/seed-1", "b/seed-1"]),
        (["runs/control", "runs/xl/seed-1"], ["control", "xl/seed-1"]),
    ],
)
def test_labels_say_what_differs(paths: list[str], labels: list[str]):
    assert short_labels([Path(path) for path in paths]) == labels


def test_a_run_named_twice_is_refused():
    with pytest.raises(SeqmemError, match=r"'runs/\.\./runs/one' is named twice"):
        short_labels([Path("runs/one"), Path("runs/../runs/one")])


def test_seeds_and_lengths_do_not_make_another_entry(recipe: Callable[..., Recipe]):
    first = settings_of(recipe(seed=1, steps=10))
    assert first == settings_of(recipe(seed=2, steps=20))
    changed = settings_of(recipe(lr=0.5, model={"d_model": 16}))
    assert {key for key in first if first[key] != changed[key]} == {"train.lr", "model.d_model"}
