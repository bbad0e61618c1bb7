"""The figures to beat are those that theory gives for sounds of which it knows."""

import math

import numpy as np
import pytest

from seqmem.config import CodecConfig
from seqmem.data import linear_prediction
from seqmem.data.codec import Codec
from seqmem.data.linear_prediction import baselines

NOWHERE = np.zeros(0, int)
LINEAR = Codec(CodecConfig(kind="linear", levels=256, sample_rate=8000))
MU_LAW = Codec(CodecConfig(kind="mu-law", levels=256, sample_rate=8000))


def resonance(num_samples: int, radius: float, angle: float, deviation: float, seed: int) -> np.ndarray:
    """Gaussian noise of a standard ``deviation``, of full scale, through a resonator: an autoregression of order 2."""
    noise = np.random.default_rng(seed).normal(0, deviation * 32768, num_samples)
    sound = np.zeros(num_samples + 2)
    first, second = 2 * radius * math.cos(angle), -(radius**2)
    for index in range(num_samples):
        sound[index + 2] = first * sound[index + 1] + second * sound[index] + noise[index]
    return np.clip(np.round(sound[2:]), -32768, 32767).astype(np.int16)


def bits_of_gaussian(deviation: float) -> float:
    """Of a Gaussian on the grid of 256 levels over [-1, 1]; ``deviation`` counts several steps."""
    return math.log2(deviation * math.sqrt(2 * math.pi * math.e) / (2 / 255))


def test_noise_costs_what_it_costs_on_its_own():
    noise = np.random.default_rng(0).integers(-32768, 32768, (2, 200_000)).astype(np.int16)
    found = baselines(*noise, NOWHERE, LINEAR)
    assert found is not None
    assert found.marginal == pytest.approx(8, abs=0.02)
    assert found.fixed == pytest.approx(8, abs=0.1)


def test_of_an_autoregression_the_innovation_is_left():
    train, held_out = (resonance(150_000, 0.95, 0.6, 0.03, seed) for seed in (1, 2))
    found = baselines(train, held_out, NOWHERE, LINEAR)
    assert found is not None
    assert found.fixed == pytest.approx(bits_of_gaussian(0.03), abs=0.1)
    assert found.marginal == pytest.approx(bits_of_gaussian(float(np.std(held_out)) / 32768), abs=0.05)


def test_weights_that_adapt_follow_a_resonance_that_moves():
    def moving(seed: int) -> np.ndarray:
        return np.concatenate([resonance(2000, 0.98, angle, 0.01, seed) for angle in np.linspace(0.2, 2.9, 40)])

    found = baselines(moving(3), moving(4), NOWHERE, MU_LAW)
    assert found is not None
    assert found.adaptive < found.fixed - 0.3


def test_the_starts_of_recordings_are_not_scored():
    train = resonance(50_000, 0.9, 0.5, 0.01, 5)
    loud, quiet = train.copy(), train.copy()
    loud[-1], quiet[-1] = 32767, train[-2]
    at_the_end = np.array([len(train) - 1])
    first, other = (baselines(train, sound, at_the_end, MU_LAW) for sound in (loud, quiet))
    assert first == other
    assert baselines(train, loud, NOWHERE, MU_LAW) != baselines(train, quiet, NOWHERE, MU_LAW)


def test_blocks_from_all_over_a_long_sound_stand_for_it(monkeypatch: pytest.MonkeyPatch):
    sound = resonance(150_000, 0.95, 0.6, 0.03, 6)
    whole = baselines(sound, sound, NOWHERE, MU_LAW)
    monkeypatch.setattr(linear_prediction, "BLOCK_LEN", 10_000)
    pieces = baselines(sound, sound, NOWHERE, MU_LAW)
    monkeypatch.setattr(linear_prediction, "MAX_BLOCKS", 15)
    half = baselines(sound, sound, NOWHERE, MU_LAW)
    assert whole is not None
    assert pieces is not None
    assert half is not None
    assert pieces.fixed == pytest.approx(whole.fixed, abs=1e-4)
    assert half.fixed == pytest.approx(whole.fixed, abs=0.1)


@pytest.mark.parametrize("num_samples", [1, 5, 100])
def test_silence_and_sounds_shorter_than_the_predictor_have_finite_figures(num_samples: int):
    found = baselines(np.zeros(num_samples, np.int16), np.zeros(num_samples, np.int16), NOWHERE, MU_LAW)
    assert found is not None
    assert max(found.marginal, found.fixed, found.adaptive) < 9


def test_too_many_levels_are_not_counted():
    for kind in ("two-byte", "logistic-mixture"):
        sound = np.zeros(100, np.int16)
        assert baselines(sound, sound, NOWHERE, Codec(CodecConfig(kind=kind))) is None


def test_the_summary_names_every_figure():
    found = linear_prediction.Baselines(7.0, 5.0, 4.0)
    assert all(figure in str(found) for figure in ("7.000 bits/sample", "5.000", "4.000"))
