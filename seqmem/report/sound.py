"""The picture of a sound: its waveform and its spectrogram."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from seqmem.data.samples import FULL_SCALE
from seqmem.report.style import color, saved_figure

NUM_COLUMNS = 1200  # what the picture can resolve
WINDOW_SECONDS = 0.032
RANGE_DB = 80.0


def draw_sound(samples: np.ndarray, sample_rate: int, path: Path, title: str) -> None:
    """Above, the waveform of ``samples [N]`` int16; below, its spectrogram over the same seconds."""
    with saved_figure(path, 10.0, 5.4) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
        _draw_waveform(upper, samples, sample_rate)
        _draw_spectrogram(lower, samples, sample_rate)
        lower.set_xlim(0, len(samples) / sample_rate)


def _draw_waveform(axes: Axes, samples: np.ndarray, sample_rate: int) -> None:
    starts, low, high = envelope(samples)
    axes.fill_between(starts / sample_rate, low, high, color=color(0), linewidth=0.6)
    axes.set(ylabel="amplitude", ylim=(-1, 1))


def _draw_spectrogram(axes: Axes, samples: np.ndarray, sample_rate: int) -> None:
    level = spectrogram(samples, sample_rate)
    extent = (0, len(samples) / sample_rate, 0, sample_rate / 2000)
    image = axes.imshow(
        level.T,
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=extent,
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0,
    )
    axes.grid(False)
    axes.set(xlabel="seconds", ylabel="kHz")
    axes.figure.colorbar(image, ax=axes, label="dB of the loudest", pad=0.01)


def envelope(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First sample, minimum and maximum (in -1 ... 1) of each column of the waveform."""
    starts = np.arange(0, len(samples), max(1, len(samples) // NUM_COLUMNS))
    low, high = (extreme.reduceat(samples, starts) / FULL_SCALE for extreme in (np.minimum, np.maximum))
    return starts, low, high


def spectrogram(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Level in dB of the loudest bin, ``[columns, bins]``, of Hann windows of about 32 ms, spread evenly."""
    window_len = 1 << round(np.log2(WINDOW_SECONDS * sample_rate))
    padded = np.pad(samples, window_len // 2)
    last = len(padded) - window_len
    starts = np.linspace(0, last, min(NUM_COLUMNS, 1 + last)).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window_len)[starts] / FULL_SCALE
    power = np.abs(np.fft.rfft(windows * np.hanning(window_len))) ** 2
    digital_silence = 1e-6  # the last bit's noise has less
    return 10 * np.log10(np.maximum(power, 1e-16) / max(power.max(), digital_silence))
