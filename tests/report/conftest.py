"""Hand-made run folders: two streams of eight tokens, so that a step reads sixteen."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seqmem.config import Recipe
from seqmem.report.entries import Entry
from seqmem.report.runs import RunRecord, read_run
from seqmem.report.speed import Speed
from seqmem.schema import validated

TOKENS_A_STEP = 16


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """``recipe(steps=10)`` with changes to its training section, or ``recipe(model={...})``.

    With a ``codec`` it is a recipe of WaveNet.
    """

    def make(model: dict[str, Any] | None = None, codec: dict[str, Any] | None = None, **train: Any) -> Recipe:
        lstm = {"name": "lstm", "num_layers": 1, "d_model": 8, "segment_len": 8}
        wavenet = {"name": "wavenet", "size": "tiny", "segment_len": 8}
        values = {
            "name": "tiny",
            "description": "for tests",
            "data": {"corpus": "kjv" if codec is None else "sine"},
            "tokenizer": {"vocab_size": 300},
            "codec": codec,
            "model": (lstm if codec is None else wavenet) | (model or {}),
            "train": {"batch_size": 2, "steps": 100, "min_lr": 1e-3} | train,
        }
        return validated(Recipe, values, "test")

    return make


@pytest.fixture
def run(tmp_path: Path, recipe: Callable[..., Recipe]) -> Callable[..., RunRecord]:
    """``run("name", {step: nats/token}, seed=1)``: validations, bits/byte half and nats/word 1.25 of that.

    With a ``codec``, bits/sample are half and there are no words.
    """

    def make(name: str, nats: dict[int, float], memory_mb: Sequence[float] = (500.0,), **train: Any) -> RunRecord:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        made = recipe(**train)
        (folder / "config.json").write_text(made.model_dump_json())
        records = [(audio_validation if made.codec else validation)(step, value) for step, value in nats.items()]
        records += [{"step": max(nats, default=1), "loss": 3.0, "memory_mb": used} for used in memory_mb]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        return read_run(folder)

    return make


def validation(step: int, nats: float) -> dict[str, float | None]:
    return {
        "step": step,
        "validation_nats_per_token": nats,
        "validation_bits_per_byte": nats / 2,
        "validation_word_perplexity": math.exp(nats * 1.25) if nats < 500 else None,
        "seconds": step * 0.5,
    }


def audio_validation(step: int, nats: float) -> dict[str, float | None]:
    return {
        "step": step,
        "validation_nats_per_token": nats,
        "validation_bits_per_sample": nats / 2,
        "seconds": step * 0.5,
    }


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """``entry("name", run, ..., training=100.0)`` with a speed in tokens/s."""

    def make(name: str, *runs: RunRecord, training: float = 100.0, num_parameters: int = 1000) -> Entry:
        return Entry(name, runs, Speed(num_parameters=num_parameters, training=training, generation=training / 10))

    return make
