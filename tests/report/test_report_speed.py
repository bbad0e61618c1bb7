"""Speeds side by side, measured once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from seqmem.config import Recipe
from seqmem.report import speed
from seqmem.report.speed import Machine, Speed, side_by_side, take_turns


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

    def measure(recipes: dict[str, Recipe], run: Path | None, folder: Path) -> tuple[Machine, dict[str, Speed]]:
        measurements.append(recipes)
        found = Speed(num_parameters=1, training=len(measurements), generation=1)
        return Machine(processor="abacus", num_cores=1, num_threads=1, torch="2"), dict.fromkeys(recipes, found)

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
