"""The protocol: several models read at equal tokens and at equal seconds of training, seed by seed.

A budget is a number of tokens and a number of seconds. At equal tokens every run is read after that many training
tokens; at equal seconds after as many as its model gets through in that time, at the speed measured side by side. Runs
are read between two validations on the straight line in nats/token; bits/byte and word-level perplexity follow, or
bits/sample.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from seqmem.config import DataConfig
from seqmem.errors import SeqmemError
from seqmem.report.curve import ValidationCurve
from seqmem.report.entries import Entry
from seqmem.report.measure import Measure, measure_of
from seqmem.report.runs import RunRecord
from seqmem.report.speed import Machine

PARAMETER_TOLERANCE = 0.02


@dataclass(frozen=True)
class Budget:
    """What every entry may spend on training."""

    tokens: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """One value a seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds (n - 1 in the denominator); None of a single one, or of infinite values."""
        return stdev(self.values) if len(self.values) > 1 and math.isfinite(self.mean) else None


@dataclass(frozen=True)
class Reading:
    """An entry at a budget.

    Attributes:
        bits: bits/byte or bits/sample.
        word_perplexity: where there are words.
    """

    bits: Sample
    word_perplexity: Sample | None

    def relative_to(self, other: "Reading") -> float:
        """By how many bits the mean differs from another's."""
        return self.bits.mean - other.bits.mean


@dataclass(frozen=True)
class Row:
    """An entry's line of the table.

    Attributes:
        parameters_ratio: to the baseline's.
        at_tokens, at_seconds: what it reached at equal tokens and at equal seconds.
        tokens_in_equal_seconds: tokens at which equal seconds are read.
        training: tokens/s.
        generation: tokens/s or samples/s.
        memory_mb: the largest over the runs.
        seconds: a run's training time by its own clock, to its end.
        curve: training tokens and bits, both ``[N]``, averaged over the seeds where all were validated.
    """

    name: str
    seeds: tuple[int, ...]
    num_parameters: int
    parameters_ratio: float
    at_tokens: Reading
    at_seconds: Reading
    tokens_in_equal_seconds: float
    training: float
    generation: float
    memory_mb: float
    seconds: Sample
    curve: tuple[np.ndarray, np.ndarray]

    @property
    def is_matched(self) -> bool:
        """Whether it has as many parameters as the baseline, within :data:`PARAMETER_TOLERANCE`."""
        return abs(self.parameters_ratio - 1) <= PARAMETER_TOLERANCE


@dataclass(frozen=True)
class Comparison:
    """Entries read at a budget.

    Args:
        title: a line.
        baseline: the entry to whose parameters the others are held.
        budget: what is equal.
        entries: in any order.
        machine: where their speeds were measured.
        text: what was trained on and measured, in a sentence.
        cost: how long it took, in a sentence.
        sounds: a WAV file of each entry of sound, beside a PNG of the same name; seen from the table's folder.
    """

    title: str
    baseline: str
    budget: Budget
    entries: Sequence[Entry]
    machine: Machine
    text: str
    cost: str
    sounds: Mapping[str, Path] = field(default_factory=dict)

    @property
    def measure(self) -> Measure:
        """That of all runs."""
        return measure_of(self.entries[0].runs[0].recipe)

    @property
    def data(self) -> DataConfig:
        """That of all runs."""
        return self.entries[0].runs[0].recipe.data

    @cached_property
    def rows(self) -> list[Row]:
        """One an entry, the best at equal tokens first.

        Raises:
            SeqmemError: a run cannot be read at the budget.
        """
        baseline = next(entry for entry in self.entries if entry.name == self.baseline)
        return sorted((self._row(entry, baseline) for entry in self.entries), key=lambda row: row.at_tokens.bits.mean)

    @property
    def baseline_row(self) -> Row:
        """The one that others are held to."""
        return next(row for row in self.rows if row.name == self.baseline)

    @property
    def midway(self) -> list[str]:
        """Entries of which a run is read while its learning rate is still on its way down."""
        return [
            entry.name
            for entry in self.entries
            if any(_is_midway(run, min(self.budget.tokens, self._tokens_in_time(entry))) for run in entry.runs)
        ]

    def _tokens_in_time(self, entry: Entry) -> float:
        return self.budget.seconds * entry.speed.training

    def _row(self, entry: Entry, baseline: Entry) -> Row:
        tokens_in_time = self._tokens_in_time(entry)
        return Row(
            name=entry.name,
            seeds=tuple(run.recipe.train.seed for run in entry.runs),
            num_parameters=entry.speed.num_parameters,
            parameters_ratio=entry.speed.num_parameters / baseline.speed.num_parameters,
            at_tokens=self._reading(entry, self.budget.tokens),
            at_seconds=self._reading(entry, tokens_in_time),
            tokens_in_equal_seconds=tokens_in_time,
            training=entry.speed.training,
            generation=entry.speed.generation / self.measure.tokens_a_thing,
            memory_mb=max(float(_logged(run, "memory_mb").max()) for run in entry.runs),
            seconds=Sample(tuple(float(_logged(run, "seconds")[-1]) for run in entry.runs)),
            curve=_mean_curve(entry.runs, f"validation_{self.measure.key}"),
        )

    def _reading(self, entry: Entry, tokens: float) -> Reading:
        curves = [ValidationCurve(run) for run in entry.runs]
        bits = Sample(tuple(curve.bits_at(tokens) for curve in curves))
        if not self.measure.has_words:
            return Reading(bits, None)
        return Reading(bits, Sample(tuple(curve.word_perplexity_at(tokens) for curve in curves)))


def common_budget(entries: Sequence[Entry]) -> Budget:
    """The most tokens, and the most seconds, that every run has been validated after."""
    ends = [(ValidationCurve(run).tokens[-1], entry.speed.training) for entry in entries for run in entry.runs]
    return Budget(int(min(tokens for tokens, _ in ends)), min(tokens / speed for tokens, speed in ends))


def _mean_curve(runs: Sequence[RunRecord], key: str) -> tuple[np.ndarray, np.ndarray]:
    curves = [dict(zip(*run.series(key), strict=True)) for run in runs]
    tokens = sorted(set.intersection(*(set(curve) for curve in curves)))
    return np.array(tokens), np.array([fmean(curve[at] for curve in curves) for at in tokens])


def _is_midway(run: RunRecord, tokens: float) -> bool:
    config = run.recipe.train
    return config.min_lr != config.lr and tokens < (config.steps - 0.5) * run.tokens_a_step


def _logged(run: RunRecord, key: str) -> np.ndarray:
    values = run.series(key)[1]
    if not len(values):
        raise SeqmemError(f"run '{run.path}' has not logged {key} yet; let it train for train.log_every steps")
    return values
