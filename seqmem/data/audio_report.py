"""What is in a folder of sounds, in numbers: what was kept and dropped and why, and how loud the kept sounds are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from seqmem.data.corpus import SPLITS
from seqmem.data.samples import FULL_SCALE

FILE_NAME = "report.json"
NUM_BINS = 256
SILENCE = 33
"""16-bit samples below it are silence: -60 dB of full scale."""
WINDOW_SECONDS = 0.02
MAX_BAD_FILES = 10


@dataclass
class Measures:
    """Counts of sounds that add up, over blocks and files, to the same in any order.

    Attributes:
        num_source: values read from files, of all channels at the files' rates.
        num_clipped: of these, the ones at or beyond full scale.
        peak: the largest magnitude of these; 1 is full scale.
        num_samples: 16-bit samples that came of them.
        total: the sum of those.
        num_silent: of those, the ones in windows of 20 ms that stay below :data:`SILENCE`.
        histogram: of those, the counts in 256 bins of 256 neighbouring levels.
    """

    num_source: int = 0
    num_clipped: int = 0
    peak: float = 0.0
    num_samples: int = 0
    total: int = 0
    num_silent: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * NUM_BINS)

    def add_source(self, block: np.ndarray) -> None:
        """Count values as a file has them, floats of any shape."""
        magnitude = np.abs(block)
        self.num_source += block.size
        self.num_clipped += int((magnitude >= (FULL_SCALE - 1) / FULL_SCALE).sum())
        self.peak = max(self.peak, float(magnitude.max(initial=0)))

    def add_samples(self, samples: np.ndarray, sample_rate: int) -> None:
        """Count ``samples [N]`` int16; a window ends where they end."""
        if not len(samples):
            return
        window = max(1, round(WINDOW_SECONDS * sample_rate))
        firsts = np.arange(0, len(samples), window)
        lengths = np.diff(firsts, append=len(samples))
        self.num_samples += len(samples)
        self.total += int(samples.sum(dtype=np.int64))
        self.num_silent += int(lengths[np.maximum.reduceat(np.abs(samples.astype(np.int32)), firsts) < SILENCE].sum())
        bins = np.bincount((samples >> 8).astype(np.int64) + NUM_BINS // 2, minlength=NUM_BINS)
        self.histogram = [old + new for old, new in zip(self.histogram, bins.tolist(), strict=True)]

    def __add__(self, other: "Measures") -> "Measures":
        return Measures(
            self.num_source + other.num_source,
            self.num_clipped + other.num_clipped,
            max(self.peak, other.peak),
            self.num_samples + other.num_samples,
            self.total + other.total,
            self.num_silent + other.num_silent,
            [mine + its for mine, its in zip(self.histogram, other.histogram, strict=True)],
        )


@dataclass(frozen=True)
class Verdict:
    """What became of one file.

    Attributes:
        name: its path in the folder or manifest.
        seconds: its length; 0 where that cannot be told.
        num_samples: 16-bit samples made of it, 0 of a dropped file.
        reason: why it was dropped, in a word or two that other files share; empty of a kept one.
        detail: what exactly was found.
    """

    name: str
    seconds: float
    num_samples: int
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """The data report of a store.

    Attributes:
        rule: how files came into splits.
        num_files: that were kept.
        seconds: of them, by split.
        dropped: files and seconds by reason.
        bad_files: name, reason and detail of the first that were dropped.
        peak: the largest magnitude in the files; 1 is full scale.
        dc_offset: the mean of all samples; 1 is full scale.
        clipped: share of the files' values that are at full scale or beyond.
        silent: share of the samples in windows of 20 ms below -60 dB.
        histogram: share of the samples in each of 256 bins of 16-bit levels, the lowest first.
    """

    sample_rate: int
    rule: str
    num_files: int
    seconds: dict[str, float]
    dropped: dict[str, dict[str, float]]
    bad_files: list[dict[str, str]]
    peak: float
    dc_offset: float
    clipped: float
    silent: float
    histogram: list[float]

    @classmethod
    def build(
        cls,
        sample_rate: int,
        rule: str,
        num_files: int,
        num_samples: Mapping[str, int],
        measures: Measures,
        dropped: Sequence[Verdict] = (),
    ) -> Self:
        """Put together what was found.

        Args:
            num_samples: that were kept, by split.
            dropped: every file that was.
        """
        count = max(1, measures.num_samples)
        return cls(
            sample_rate,
            rule,
            num_files,
            {split: num_samples[split] / sample_rate for split in SPLITS},
            _by_reason(dropped),
            [{"name": bad.name, "reason": bad.reason, "detail": bad.detail} for bad in dropped[:MAX_BAD_FILES]],
            measures.peak,
            measures.total / count / FULL_SCALE,
            measures.num_clipped / max(1, measures.num_source),
            measures.num_silent / count,
            [number / count for number in measures.histogram],
        )

    def table(self) -> str:
        """For a reader, in a few lines."""
        by_split = ", ".join(f"{seconds / 3600:.3f} {split}" for split, seconds in self.seconds.items())
        lost = {reason: f"{int(what['files']):,} {reason}" for reason, what in self.dropped.items()}
        num_lost = int(sum(what["files"] for what in self.dropped.values()))
        hours_lost = sum(what["seconds"] for what in self.dropped.values()) / 3600
        rows = [
            ("files", f"{self.num_files:,} kept, {num_lost:,} dropped{': ' if lost else ''}{', '.join(lost.values())}"),
            ("hours", f"{sum(self.seconds.values()) / 3600:.3f} kept ({by_split}), {hours_lost:.3f} dropped"),
            ("splits", self.rule),
            ("peak", f"{self.peak:.3f} of full scale"),
            ("DC offset", f"{self.dc_offset:+.5f} of full scale"),
            ("clipped", f"{self.clipped:.4%} of the values"),
            ("silence", f"{self.silent:.1%} of the time"),
        ]
        rows += [("bad file", f"{bad['name']}: {bad['reason']} ({bad['detail']})") for bad in self.bad_files]
        return "\n".join(f"{name:<10} {value}" for name, value in rows)

    def save(self, folder: Path) -> None:
        """Write ``report.json`` into ``folder``."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        values: dict[str, Any] = json.loads((folder / FILE_NAME).read_text())
        return cls(**values)


def _by_reason(dropped: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    reasons = sorted({verdict.reason for verdict in dropped})
    groups = {reason: [verdict.seconds for verdict in dropped if verdict.reason == reason] for reason in reasons}
    return {reason: {"files": len(seconds), "seconds": sum(seconds)} for reason, seconds in groups.items()}
