"""The picture of a sound."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from seqmem.report.sound import NUM_COLUMNS, RANGE_DB, draw_sound, envelope, spectrogram

RATE = 16000


def tone(frequency: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.round(10000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_a_tone_is_one_line_at_its_frequency(rate: int):
    level = spectrogram(tone(1000, rate=rate), rate)
    middle = level[25:-25]  # without the windows that reach beyond the sound
    spacing = rate / 2 / (level.shape[1] - 1)
    assert set(middle.argmax(axis=1)) <= {int(1000 / spacing), int(1000 / spacing) + 1}
    assert middle.max() == 0
    far = np.abs(np.arange(level.shape[1]) * spacing - 1000) > 300
    assert middle[:, far].max() < -60


def test_time_runs_along_the_columns():
    level = spectrogram(np.concatenate([tone(500), tone(3000)]), RATE)
    loudest = level.argmax(axis=1) * RATE / 2 / (level.shape[1] - 1)
    half = len(level) // 2
    assert loudest[: half - 20] == pytest.approx(500, abs=20)
    assert loudest[half + 20 :] == pytest.approx(3000, abs=20)


def test_silence_is_dark():
    assert spectrogram(np.zeros(RATE, np.int16), RATE).max() < -RANGE_DB


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=9000))
def test_the_envelope_keeps_every_extreme(values: list[int]):
    samples = np.array(values, np.int16)
    starts, low, high = envelope(samples)
    assert len(starts) < 2 * NUM_COLUMNS + 1
    assert (low.min(), high.max()) == (samples.min() / 32768, samples.max() / 32768)
    for start, end, lowest, highest in zip(starts, [*starts[1:], len(samples)], low, high, strict=True):
        assert (lowest * 32768, highest * 32768) == (samples[start:end].min(), samples[start:end].max())


@pytest.mark.parametrize("num_samples", [1, 7, 513, 100_000])
def test_sounds_of_any_length_are_drawn(tmp_path: Path, num_samples: int):
    samples = tone(440, 7)[:num_samples]
    draw_sound(samples, RATE, tmp_path / "plots" / "x.png", "x")
    assert imread(tmp_path / "plots" / "x.png").shape == (648, 1200, 4)
    assert len(spectrogram(samples, RATE)) <= NUM_COLUMNS
