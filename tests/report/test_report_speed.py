"""Speeds side by side, measured once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from seqmem.config import Recipe
from seqmem.generate.sampling import Sampler
from seqmem.models import build_model, model_config
from seqmem.ops import bind
from seqmem.report import speed
from seqmem.report.speed import Speed, side_by_side, take_turns
from seqmem.state import State


def test_contenders_take_turns_and_the_first_turn_does_not_count(monkeypatch: pytest.MonkeyPatch):
    clock, order = [0.0], []
    durations = {"a": iter([100.0, 1.0, 5.0, 2.0]), "b": iter([100.0, 3.0, 3.0, 9.0])}

    def contender(name: str) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            clock[0] += next(durations[name])

        return run

    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    assert take_turns({"a": contender("a"), "b": contender("b")}, rounds=3) == {"a": 2.0, "b": 3.0}
    assert order == ["a", "b"] * 4


def test_what_was_measured_is_kept_for_these_settings(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    measurements: list[dict[str, Recipe]] = []

    def measure(recipes: dict[str, Recipe], run: Path | None, folder: Path) -> dict[str, Speed]:
        measurements.append(recipes)
        return dict.fromkeys(recipes, Speed(num_parameters=1, training=len(measurements), generation=1))

    def training_speeds(**recipes: Recipe) -> list[float]:
        speeds = side_by_side(recipes, None, tmp_path / "out/speed.json", Console(quiet=True)).speeds
        return [speeds[name].training for name in recipes]

    monkeypatch.setattr(speed, "_measure_apart", measure)
    assert training_speeds(a=recipe(seed=1), b=recipe(lr=0.5)) == [1, 1]
    assert training_speeds(b=recipe(lr=0.5), a=recipe(seed=2, steps=5)) == [1, 1]
    assert training_speeds(a=recipe(), b=recipe(lr=0.6)) == [2, 2]
    assert training_speeds(a=recipe()) == [3]
    (tmp_path / "out/speed.json").write_text("spoilt")
    assert training_speeds(a=recipe()) == [4]
    assert training_speeds(a=recipe()) == [4]
    monkeypatch.setattr(speed.os, "cpu_count", lambda: 1000)
    assert training_speeds(a=recipe()) == [5]


def test_threads_are_those_of_the_recipe(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(speed, "_measure_apart", lambda recipes, run, folder: {})
    measured = side_by_side({"a": recipe(num_threads=77)}, None, tmp_path / "speed.json", Console(quiet=True))
    assert measured.machine.num_threads == 77


@pytest.mark.parametrize(("segment_len", "num_generated"), [(8, 100), (120, 120)])
def test_generation_goes_on_from_a_full_memory_across_a_border(
    segment_len: int, num_generated: int, monkeypatch: pytest.MonkeyPatch
):
    model = build_model(model_config("transformer-xl/tiny", segment_len=segment_len, mem_len=600), bind()).eval()
    read: list[tuple[list[int], int]] = []

    def token_loop(state: State, sampler: Sampler):
        def loop(last: torch.Tensor, num_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
            read.append((last.tolist(), num_tokens))
            return torch.full((1, num_tokens), 5), torch.zeros(1, num_tokens)

        assert state.filled.item() >= 600
        return loop

    monkeypatch.setattr(model, "token_loop", token_loop, raising=False)
    tokens = np.arange(2000) % 50
    draw = speed._generator(model, tokens)
    draw()
    draw()
    assert read == [([tokens[segment_len + 600 - 1]], num_generated), ([5], num_generated)]
