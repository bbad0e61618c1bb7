"""Resampling in blocks is resampling the whole, keeps pitches, and lets nothing through that would fold back."""

import sys
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.transforms import Resample

from seqmem.data import resample as module
from seqmem.data.resample import FILTER, resampled
from seqmem.errors import SeqmemError

RATES = (8000, 11025, 16000, 22050, 44100, 48000)


@cache
def exactly(old: int, new: int) -> Resample:
    """The same filter with sums in float64."""
    return Resample(old, new, **FILTER).double()


def in_blocks(values: np.ndarray, old: int, new: int, *borders: int) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *resampled(np.split(values, borders), old, new)])


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.integers(1, 20000),
    st.lists(st.integers(0, 20000), max_size=3),
    st.sampled_from([1000, 1 << 17]),
)
def test_in_blocks_is_the_whole(old, new, length, borders, step):
    values = np.random.default_rng(length).uniform(-1, 1, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEP_SAMPLES", step)
        patch.setattr(module, "_transform", exactly)
        ours = in_blocks(values, old, new, *sorted(borders))
    whole = exactly(old, new)(torch.from_numpy(values)).numpy()
    assert ours.shape == whole.shape == (-(-length * new // old),)
    assert ours == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(("old", "new"), [(8000, 11025), (11025, 16000), (44100, 16000), (48000, 8000)])
def test_sums_of_float32_are_near_enough(old, new):
    values = np.random.default_rng(0).uniform(-1, 1, 20000).astype(np.float32)
    error = in_blocks(values, old, new) - exactly(old, new)(torch.from_numpy(values).double()).numpy()
    assert np.sqrt(np.mean(error**2)) < 1e-6


@pytest.mark.parametrize("old", [8000, 22050, 44100, 11127, 44099])
def test_a_sine_keeps_its_frequency(old):
    seconds = 4
    values = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(seconds * old) / old)
    out = in_blocks(values.astype(np.float32), old, 16000, 12345)
    assert len(out) == pytest.approx(seconds * 16000, abs=2)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)), 1 << 18))
    assert np.argmax(spectrum) * 16000 / (1 << 18) == pytest.approx(1000, abs=0.1)
    assert np.abs(out[1000:-1000]).max() == pytest.approx(0.5, abs=2e-3)


def test_what_lies_above_the_new_range_does_not_fold_back():
    values = np.sin(2 * np.pi * 9000 * np.arange(44100) / 44100).astype(np.float32)
    assert np.abs(in_blocks(values, 44100, 16000)[1000:-1000]).max() < 1e-3


def test_no_sound_stays_none():
    assert len(in_blocks(np.zeros(0, np.float32), 8000, 16000)) == 0


def test_blocks_of_odd_rates_are_bounded():
    seconds = 20
    out = list(resampled([np.zeros(44099 * seconds, np.float32)], 44099, 16000))
    assert sum(map(len, out)) == pytest.approx(16000 * seconds, abs=2)
    assert max(map(len, out)) <= module.STEP_SAMPLES


def test_the_number_of_threads_is_left_as_it_was():
    before = torch.get_num_threads()
    in_blocks(np.zeros(100, np.float32), 8000, 16000)
    assert torch.get_num_threads() == before


def test_without_torchaudio_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", None)
    module._transform.cache_clear()
    with pytest.raises(SeqmemError, match=r'torchaudio .*pip install "seqmem\[audio\]"'):
        in_blocks(np.zeros(100, np.float32), 8000, 16000)
    assert len(in_blocks(np.zeros(100, np.float32), 8000, 8000)) == 100
