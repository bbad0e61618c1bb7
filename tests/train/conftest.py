"""A recipe of seconds on a small text; the loop's process-wide settings are put back afterwards."""

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from rich.console import Console

from seqmem.config import Recipe
from seqmem.schema import validated
from seqmem.train.session import Session


@pytest.fixture(autouse=True)
def _settings_put_back() -> Iterator[None]:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory) -> Path:
    """Three documents of made-up words, always the same."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(200)]
    folder = tmp_path_factory.mktemp("texts")
    for name in "abc":
        lines = (" ".join(rng.choices(words, k=8)) + ".\n" for _ in range(150))
        (folder / f"{name}.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def interrupted(monkeypatch):
    """``with interrupted(before=5):`` training stops before its fifth step, as by Ctrl-C."""

    @contextmanager
    def interrupted(before: int) -> Iterator[None]:
        step = Session.step

        def stopping(self):
            if self.counters.step + 1 == before:
                raise KeyboardInterrupt
            return step(self)

        with monkeypatch.context() as patch:
            patch.setattr(Session, "step", stopping)
            with pytest.raises(KeyboardInterrupt):
                yield

    return interrupted


@pytest.fixture
def recipe(text_folder) -> Recipe:
    """Twelve steps of a tiny Transformer-XL with dropout, two streams and a memory longer than a segment."""
    values = {
        "name": "tiny",
        "description": "for tests",
        "data": {"path": text_folder},
        "tokenizer": {"vocab_size": 300},
        "model": {
            "name": "transformer-xl",
            "num_layers": 2,
            "d_model": 16,
            "num_heads": 2,
            "head_dim": 8,
            "d_inner": 24,
            "dropout": 0.2,
            "segment_len": 8,
            "mem_len": 12,
        },
        "train": {
            "steps": 12,
            "batch_size": 2,
            "lr": 1e-2,
            "warmup_steps": 3,
            "weight_decay": 0.1,
            "log_every": 3,
            "eval_every": 6,
            "checkpoint_every": 4,
            "num_threads": 1,
        },
        "eval": {"batch_size": 16},
        "generate": {"prompt": "the", "tokens": 12},
    }
    return validated(Recipe, values, "test")


@pytest.fixture
def console() -> Console:
    """Not a terminal; what was printed is ``console.file.getvalue()``."""
    return Console(file=io.StringIO(), width=200)
