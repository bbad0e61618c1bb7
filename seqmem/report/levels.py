"""The picture of a data report: which levels the sounds of a store have."""

from pathlib import Path

import numpy as np

from seqmem.data.audio_report import Report
from seqmem.data.audio_store import AudioStore
from seqmem.report.style import color, saved_figure

FILE_NAME = "report.png"


def drawn_report(store: AudioStore) -> Path:
    """The picture in the store's folder, drawn where it is not there yet."""
    path = store.folder / FILE_NAME
    if not path.exists():
        draw_levels(store.report, path)
    return path


def draw_levels(report: Report, path: Path) -> None:
    """The share of the samples in each bin of 16-bit levels, on a logarithmic scale."""
    with saved_figure(path, 8.0, 3.6) as figure:
        axes = figure.subplots()
        borders = np.linspace(-1, 1, len(report.histogram) + 1)
        shares = np.array(report.histogram)
        axes.stairs(shares, borders, fill=True, color=color(0))
        axes.axvline(report.dc_offset, color=color(1), linewidth=1, linestyle="--", label="DC offset")
        axes.set_yscale("log", nonpositive="clip")
        axes.set(xlim=(-1, 1), xlabel="level (1 is full scale)", ylabel=f"share of samples, {len(shares)} bins")
        axes.set_title(
            f"{sum(report.seconds.values()) / 3600:.3f} hours: peak {report.peak:.3f}, clipped {report.clipped:.3%}, "
            f"silent {report.silent:.1%}"
        )
        axes.legend()
