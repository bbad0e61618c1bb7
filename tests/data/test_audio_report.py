"""What is measured of sounds, against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.data.audio_report import MAX_BAD_FILES, Measures, Report, Verdict
from seqmem.data.corpus import SPLITS
from seqmem.data.samples import to_float, to_int16

RATE = 8000


def measured(values: np.ndarray) -> Measures:
    measures = Measures()
    measures.add_source(values)
    measures.add_samples(to_int16(values), RATE)
    return measures


def report(measures: Measures, *dropped: Verdict) -> Report:
    return Report.build(RATE, "a rule", 3, dict.fromkeys(SPLITS, 3600 * RATE), measures, dropped)


def test_peak_clipping_dc_and_levels():
    values = np.full(1000, 0.25)
    values[:20] = [1.5, -1.0, 32767 / 32768, 0.9] * 5
    found = report(measured(values))
    assert found.peak == 1.5
    assert found.clipped == 15 / 1000
    assert found.dc_offset == pytest.approx(to_int16(values).mean() / 32768)
    expected, _ = np.histogram(to_int16(values), 256, (-32768, 32768))
    assert found.histogram == pytest.approx(expected / 1000)


def test_silence_is_windows_of_20_ms_below_60_db():
    values = np.zeros(RATE)
    values[160:320] = 0.0011  # one window of fifty
    values[400] = 0.0009
    assert report(measured(values)).silent == 0.98
    assert report(measured(np.full(100, 0.0009))).silent == 1, "a window that is not full counts by its length"


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 20), max_size=4), st.integers(0, 1000))
def test_measures_add_up_in_any_order(windows, seed):
    values = np.random.default_rng(seed).uniform(-1.1, 1.1, (20 * 160, 2)) * 10.0 ** -np.arange(20).repeat(160)[:, None]
    parts = [measured(part[:, 0]) for part in np.split(values, [160 * window for window in sorted(windows)])]
    together = measured(values[:, 0])
    assert sum(parts, Measures()) == together
    assert sum(reversed(parts), Measures()) == together


def test_nothing_kept_is_no_division_by_zero():
    assert report(Measures()).silent == 0


def test_the_table_names_reasons_and_the_first_bad_files():
    bad = [Verdict(f"{index}.wav", 36.0, 0, "corrupt", f"hole {index}") for index in range(20)]
    found = report(measured(np.zeros(10)), *bad, Verdict("z.wav", 0, 0, "empty", "0 bytes"))
    lines = found.table().splitlines()
    assert lines[0] == "files      3 kept, 21 dropped: 20 corrupt, 1 empty"
    assert lines[1] == "hours      3.000 kept (1.000 train, 1.000 validation, 1.000 test), 0.200 dropped"
    assert [line for line in lines if line.startswith("bad file")] == [
        f"bad file   {index}.wav: corrupt (hole {index})" for index in range(MAX_BAD_FILES)
    ]


def test_a_saved_report_is_the_same(tmp_path):
    found = report(measured(np.linspace(-1, 1, 500)), Verdict("ö.wav", 1.0, 0, "silent", "nowhere above -60 dB"))
    found.save(tmp_path)
    assert Report.load(tmp_path) == found


def test_16_bit_samples_and_floats():
    every = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(to_int16(to_float(every)), every)
    assert to_int16(np.array([2.0, -2.0, 0.4 / 32768])).tolist() == [32767, -32768, 0]
