"""What is audibly wrong with a sound: silence, clipping, noise, an offset.

Thresholds lie well beyond what 3,041 recordings of speech, violin and other instruments show (Free Spoken Digits,
LibriSpeech, LJSpeech, LibriVox, Bach for solo violin), so that good sounds raise no warning.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from seqmem.data.samples import FULL_SCALE

FRAME_SECONDS = 0.05
FRAMES_AT_ONCE = 256  # bounds memory

# The loudest frame of the quietest recording has -49 dBFS; the lowest level of 8-bit mu-law has -81.
SILENCE_DBFS = -55.0
# Pauses before, after and within recordings last up to 2.7 s, of sounds several times as long.
SILENT_SECONDS, SILENT_SHARE = 2.0, 0.5

# 8-bit mu-law has one level for all above 0.978. No recording stays there for three samples.
TOP, CLIPPED_SHARE = 0.97, 0.001

# White noise has a spectral flatness of 0.9 as measured here, 0.7 behind a first-order low-pass at 0.5. No recording
# stays above 0.3, where it is loud, for more than 0.15 s: those are its fricatives.
NOISE_FLATNESS, NOISE_DBFS, NOISE_SECONDS = 0.3, -30.0, 0.5

# The largest among recordings is 0.008.
OFFSET = 0.02


def warnings_about(samples: np.ndarray, sample_rate: int) -> list[str]:
    """What is wrong with ``samples [N]`` int16, one line each; less than a frame (50 ms) is not judged."""
    frame_len = max(8, round(FRAME_SECONDS * sample_rate))
    if len(samples) < frame_len:
        return []
    level, flatness = _levels_and_flatness(samples, frame_len)
    found = (_silence(level), _clipping(samples), _noise(level, flatness), _offset(samples))
    return [warning for warning in found if warning]


def _silence(level: np.ndarray) -> str | None:
    if level.max() < SILENCE_DBFS:
        return f"silence: never louder than {level.max():.0f} dBFS"
    start, end = _longest(level < SILENCE_DBFS)
    if (end - start) * FRAME_SECONDS >= SILENT_SECONDS and end - start >= SILENT_SHARE * len(level):
        return f"silence from {_span(start, end)}"
    return None


def _clipping(samples: np.ndarray) -> str | None:
    top = np.abs(samples.astype(np.int32)) >= TOP * FULL_SCALE
    share = np.mean(top[:-2] & top[1:-1] & top[2:])
    return f"clipping: {share:.1%} of the samples stay at full scale" if share > CLIPPED_SHARE else None


def _noise(level: np.ndarray, flatness: np.ndarray) -> str | None:
    start, end = _longest((level > NOISE_DBFS) & (flatness > NOISE_FLATNESS))
    return f"noise from {_span(start, end)}" if (end - start) * FRAME_SECONDS >= NOISE_SECONDS else None


def _offset(samples: np.ndarray) -> str | None:
    offset = samples.mean() / FULL_SCALE
    return f"offset: the mean is {offset:+.0%} of full scale" if abs(offset) > OFFSET else None


def _levels_and_flatness(samples: np.ndarray, frame_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of F frames, ``[F]``: its level in dBFS without its mean, and its spectral flatness.

    Flatness is the geometric over the arithmetic mean of the power spectrum (Welch's, of Hann windows half as long as
    the frame or less): how white a sound is, whatever its level.
    """
    parts = [_of_frames(frames, frame_len) for frames in _frames(samples, frame_len)]
    level, flatness = (np.concatenate(values) for values in zip(*parts, strict=True))
    return level, flatness


def _frames(samples: np.ndarray, frame_len: int) -> Iterator[np.ndarray]:
    frames = samples[: len(samples) // frame_len * frame_len].reshape(-1, frame_len)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        yield frames[start : start + FRAMES_AT_ONCE] / FULL_SCALE


def _of_frames(frames: np.ndarray, frame_len: int) -> tuple[np.ndarray, np.ndarray]:
    silence = 1e-12
    window_len = 1 << int(np.log2(frame_len // 2))
    windows = np.lib.stride_tricks.sliding_window_view(frames, window_len, axis=1)[:, :: window_len // 2]
    power = (np.abs(np.fft.rfft(windows * np.hanning(window_len))) ** 2).mean(axis=1)[:, 1:-1] + silence
    flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    return 10 * np.log10(frames.var(axis=1) + silence), flatness


def _longest(marks: np.ndarray) -> tuple[int, int]:
    """First and end of the longest stretch of marked frames."""
    stretches, start = [(0, 0)], 0
    for marked, group in groupby(marks.tolist()):
        end = start + len(list(group))
        if marked:
            stretches.append((start, end))
        start = end
    return max(stretches, key=lambda stretch: stretch[1] - stretch[0])


def _span(start: int, end: int) -> str:
    return f"{start * FRAME_SECONDS:.1f} s to {end * FRAME_SECONDS:.1f} s"
