"""The protocol: several models read at equal tokens and at equal seconds of training, seed by seed.

A budget is a number of tokens and a number of seconds. At equal tokens every run is read after that many training
tokens; at equal seconds after as many as its model gets through in that time, at the speed measured side by side. Runs
are read between two validations on the straight line in nats/token; bits/byte and word-level perplexity follow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev

import numpy as np

from seqmem.errors import SeqmemError
from seqmem.report.curve import ValidationCurve
from seqmem.report.entries import Entry
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
class Row:
    """An entry's line of the table.

    Attributes:
        parameters_ratio: to the baseline's.
        bits_per_byte, word_perplexity: at equal tokens.
        bits_per_byte_equal_seconds, word_perplexity_equal_seconds: at equal seconds.
        tokens_in_equal_seconds: tokens at which equal seconds are read.
        training, generation: tokens/s.
        memory_mb: the largest over the runs.
        seconds: a run's training time by its own clock, to its end.
        curve: training tokens and bits/byte, both ``[N]``, averaged over the seeds where all were validated.
    """

    name: str
    seeds: tuple[int, ...]
    num_parameters: int
    parameters_ratio: float
    bits_per_byte: Sample
    word_perplexity: Sample
    bits_per_byte_equal_seconds: Sample
    word_perplexity_equal_seconds: Sample
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
    """

    title: str
    baseline: str
    budget: Budget
    entries: Sequence[Entry]
    machine: Machine
    text: str
    cost: str

    @cached_property
    def rows(self) -> list[Row]:
        """One an entry, the best at equal tokens first.

        Raises:
            SeqmemError: a run cannot be read at the budget.
        """
        baseline = next(entry for entry in self.entries if entry.name == self.baseline)
        return sorted((self._row(entry, baseline) for entry in self.entries), key=lambda row: row.bits_per_byte.mean)

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
        curves = [ValidationCurve(run) for run in entry.runs]
        tokens, tokens_in_time = self.budget.tokens, self._tokens_in_time(entry)
        return Row(
            name=entry.name,
            seeds=tuple(run.recipe.train.seed for run in entry.runs),
            num_parameters=entry.speed.num_parameters,
            parameters_ratio=entry.speed.num_parameters / baseline.speed.num_parameters,
            bits_per_byte=Sample(tuple(curve.bits_per_byte_at(tokens) for curve in curves)),
            word_perplexity=Sample(tuple(curve.word_perplexity_at(tokens) for curve in curves)),
            bits_per_byte_equal_seconds=Sample(tuple(curve.bits_per_byte_at(tokens_in_time) for curve in curves)),
            word_perplexity_equal_seconds=Sample(tuple(curve.word_perplexity_at(tokens_in_time) for curve in curves)),
            tokens_in_equal_seconds=tokens_in_time,
            training=entry.speed.training,
            generation=entry.speed.generation,
            memory_mb=max(float(_logged(run, "memory_mb").max()) for run in entry.runs),
            seconds=Sample(tuple(float(_logged(run, "seconds")[-1]) for run in entry.runs)),
            curve=_mean_curve(entry.runs),
        )


def common_budget(entries: Sequence[Entry]) -> Budget:
    """The most tokens, and the most seconds, that every run has been validated after."""
    ends = [(ValidationCurve(run).tokens[-1], entry.speed.training) for entry in entries for run in entry.runs]
    return Budget(int(min(tokens for tokens, _ in ends)), min(tokens / speed for tokens, speed in ends))


def _mean_curve(runs: Sequence[RunRecord]) -> tuple[np.ndarray, np.ndarray]:
    curves = [dict(zip(*run.series("validation_bits_per_byte"), strict=True)) for run in runs]
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
