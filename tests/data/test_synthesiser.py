"""Sounds made from seeds: the same every time, tunes on a scale whose phrases come back, a pure sine."""

import numpy as np
import pytest

from seqmem.data.corpus import SPLITS
from seqmem.data.synthesiser import PHRASE_BEATS, SCALE, SINE_HERTZ, Recordings, recordings

RATE = 4000


@pytest.fixture(scope="module")
def tunes() -> Recordings:
    return recordings("plucked-strings", RATE)


def steps(phrase: np.ndarray) -> list[int]:
    """The degree of the scale that each beat of a phrase sounds, by the partials there are."""
    found = []
    for beat in np.array_split(phrase, PHRASE_BEATS):
        t = np.arange(len(beat)) / RATE
        k = np.arange(1, 4)[:, None]
        basis = np.exp(-2j * np.pi * SCALE[:, None, None] * k * t) * np.hanning(len(beat))
        found.append(int((np.abs(basis @ beat) ** 2).sum(1).argmax()))
    return found


@pytest.mark.parametrize("name", ["plucked-strings", "sine"])
def test_sounds_are_the_same_every_time_and_within_full_scale(name: str):
    first, again = (recordings(name, 2000) for _ in range(2))
    assert list(first) == list(SPLITS)
    for split in SPLITS:
        assert first[split]
        for sound, same in zip(first[split], again[split], strict=True):
            assert (sound.dtype, sound.ndim) == (np.float32, 1)
            assert np.array_equal(sound, same)
            assert 0.1 < np.abs(sound).max() <= 1


def test_minutes_to_train_on_and_no_tune_in_two_splits(tunes: Recordings):
    assert sum(map(len, tunes["train"])) > 5 * 60 * RATE
    everything = [sound[:RATE].tobytes() for split in SPLITS for sound in tunes[split]]
    assert len(set(everything)) == len(everything)


def test_a_tune_has_the_form_aaba(tunes: Recordings):
    for tune in tunes["test"]:
        first, second, other, last = (steps(phrase) for phrase in np.array_split(tune, 4))
        agreement = [np.mean(np.equal(first, phrase)) for phrase in (second, last)]
        assert min(agreement) > 0.9
        assert np.mean(np.equal(first, other)) < 0.6


def test_a_phrase_that_comes_back_is_plucked_anew(tunes: Recordings):
    tune = tunes["test"][0]
    first, second = tune[: len(tune) // 4], tune[len(tune) // 4 :][: len(tune) // 4]
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.95


def test_tunes_use_the_scale(tunes: Recordings):
    used = {step for tune in tunes["train"][:10] for phrase in np.array_split(tune, 4) for step in steps(phrase)}
    assert len(used) == len(SCALE)


def test_at_every_rate_the_same_tunes_without_partials_beyond_half_of_it(tunes: Recordings):
    slow, fast = recordings("plucked-strings", 1000)["test"][0], tunes["test"][0]
    assert len(fast) / RATE == pytest.approx(len(slow) / 1000, abs=0.1)
    spectrum = np.abs(np.fft.rfft(slow)) ** 2
    assert spectrum[int(0.95 * len(spectrum)) :].sum() < 0.01 * spectrum.sum()
    assert np.isfinite(slow).all()


def test_the_sine_is_pure():
    (sound,) = recordings("sine", 8000)["validation"]
    t = np.arange(len(sound)) / 8000
    assert np.allclose(sound, 0.5 * np.sin(2 * np.pi * SINE_HERTZ * t), atol=1e-6)
