"""What is to be heard in a sound ``[N]`` in [-1, 1]: pitches, onsets, partials, and what was copied from elsewhere."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FRAME_SECONDS = 0.06
OVERSAMPLING = 8
MIN_PERIODICITY = 0.8
MAX_CENTS = 40
MIN_FRAMES = 3

FLUX_FRAME_SECONDS = 0.032
FLUX_HOP_SECONDS = 0.008
MIN_GAP_SECONDS = 0.08

COPY_SECONDS = 1.75
COPY_HOP_SECONDS = 0.25
FFT_LEN = 1 << 18


def frames(sound: np.ndarray, length: int, hop: int) -> np.ndarray:
    """``[F, length]``, one every ``hop`` samples; a sound shorter than a frame has none."""
    if len(sound) < length:
        return np.zeros((0, length))
    return np.lib.stride_tricks.sliding_window_view(sound.astype(float), length)[::hop]


def scale_pitches(sound: np.ndarray, rate: int, scale: np.ndarray) -> Counter[int]:
    """How many frames of 60 ms, half overlapping, sound each pitch of ``scale``; pitches of fewer than 3 are left out.

    A frame has the pitch of its autocorrelation's first high peak, and counts if it repeats itself well and lies within
    40 cents of the scale.
    """
    length = int(FRAME_SECONDS * rate)
    counts: Counter[int] = Counter()
    for frame in frames(sound, length, length // 2):
        hertz = _pitch(frame, rate, scale.min() * 0.9, scale.max() * 1.1)
        if hertz:
            cents = 1200 * np.log2(hertz / scale)
            nearest = int(np.abs(cents).argmin())
            counts[nearest] += bool(abs(cents[nearest]) <= MAX_CENTS)
    return Counter({index: count for index, count in counts.items() if count >= MIN_FRAMES})


def _pitch(frame: np.ndarray, rate: int, lowest: float, highest: float) -> float | None:
    """Frequency of the first peak of the autocorrelation that is nearly its highest, None where nothing repeats."""
    size = 2 * len(frame)
    power = np.abs(np.fft.rfft(frame, size)) ** 2
    lags = np.arange(size * OVERSAMPLING // 2) / OVERSAMPLING
    correlation = np.fft.irfft(power, size * OVERSAMPLING)[: len(lags)] * OVERSAMPLING
    if correlation[0] <= 1e-6 * len(frame):
        return None
    correlation = correlation / correlation[0] / np.maximum(0.1, 1 - lags / len(frame))
    first, last = np.searchsorted(lags, [rate / highest, rate / lowest])
    inner = correlation[first:last]
    if inner.max() < MIN_PERIODICITY:
        return None
    is_peak = (inner >= np.roll(inner, 1)) & (inner >= np.roll(inner, -1)) & (inner >= 0.95 * inner.max())
    return float(rate / lags[first + int(is_peak.argmax())])


def onsets(sound: np.ndarray, rate: int) -> np.ndarray:
    """Seconds at which something begins: peaks of spectral flux, the growth of log magnitudes within 16 ms."""
    length, hop = int(FLUX_FRAME_SECONDS * rate), int(FLUX_HOP_SECONDS * rate)
    magnitudes = np.abs(np.fft.rfft(frames(sound, length, hop) * np.hanning(length)))
    if len(magnitudes) < 5:
        return np.zeros(0)
    loud = np.log1p(100 * magnitudes / max(magnitudes.max(), 1e-9))
    flux = np.maximum(0, loud[2:] - loud[:-2]).mean(1)
    gap = round(MIN_GAP_SECONDS / FLUX_HOP_SECONDS)
    around = frames(np.pad(flux, gap), 2 * gap + 1, 1)
    threshold = np.median(flux) + 0.25 * (np.percentile(flux, 99) - np.median(flux))
    is_onset = (flux == around.max(1)) & (flux > max(threshold, 0.02))
    return (np.flatnonzero(is_onset) + 2) * hop / rate


def strongest_partial(sound: np.ndarray, rate: int) -> tuple[float, float]:
    """Frequency of the strongest partial, and the share of all energy within 10 Hz of it."""
    power = np.abs(np.fft.rfft((sound - sound.mean()) * np.hanning(len(sound)))) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / rate)
    strongest = hertz[power.argmax()]
    return float(strongest), float(power[np.abs(hertz - strongest) <= 10].sum() / max(power.sum(), 1e-12))


@dataclass(frozen=True)
class Copy:
    """The stretch of a sound that is most like one of another: seconds in both, and how alike, 1 for a copy."""

    at: float
    source_at: float
    likeness: float


def closest_copy(sound: np.ndarray, source: Sequence[np.ndarray], rate: int) -> Copy:
    """Compare stretches of 1.75 s, every 0.25 s, with all of ``source``: a copy of 2 s holds a whole stretch.

    Likeness is the absolute normalised cross-correlation, which loudness does not change.
    """
    length, hop = int(COPY_SECONDS * rate), int(COPY_HOP_SECONDS * rate)
    stretches = frames(sound, length, hop)
    norms = np.linalg.norm(stretches, axis=1, keepdims=True)
    spectra = np.conj(np.fft.rfft(stretches / np.maximum(norms, 1e-9), FFT_LEN))
    everything = np.concatenate(source).astype(float)
    best = Copy(0.0, 0.0, 0.0)
    for begin in range(0, len(everything) - length + 1, FFT_LEN - length + 1):
        piece = everything[begin : begin + FFT_LEN]
        energy = np.concatenate([[0.0], np.cumsum(piece**2)])
        norm = np.sqrt(np.maximum(energy[length:] - energy[:-length], 1e-4 * length))
        spectrum = np.fft.rfft(piece, FFT_LEN)
        for index, stretch in enumerate(spectra):
            likeness = np.abs(np.fft.irfft(spectrum * stretch, FFT_LEN)[: len(norm)]) / norm
            place = int(likeness.argmax())
            if likeness[place] > best.likeness:
                best = Copy(index * hop / rate, (begin + place) / rate, float(likeness[place]))
    return best
