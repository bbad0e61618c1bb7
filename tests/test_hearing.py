"""tools/listen hears what is in a sound."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqmem.data.synthesiser import SCALE
from seqmem.generate.wav import stream_to_wav

TOOLS = Path(__file__).parents[1] / "tools"
RATE = 8000


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TOOLS / "listen"))
    import hearing

    yield hearing
    del sys.modules["hearing"]


def note(hertz: float, seconds: float = 0.3) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * np.exp(-6 * t) * sum(np.sin(2 * np.pi * k * hertz * t) / k for k in (1, 2, 3))


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def test_every_note_of_the_scale_is_heard_as_itself(hearing):
    for index, hertz in enumerate(SCALE):
        assert set(hearing.scale_pitches(note(hertz), RATE, SCALE)) == {index}


def test_what_lies_between_the_scale_or_repeats_nothing_has_no_pitch_of_it(hearing):
    between = np.sqrt(SCALE[1:] * SCALE[:-1])
    assert not any(hearing.scale_pitches(note(hertz), RATE, SCALE) for hertz in between)
    assert not hearing.scale_pitches(noise(2), RATE, SCALE)
    assert not hearing.scale_pitches(np.zeros(RATE), RATE, SCALE)


def test_onsets_are_where_notes_begin(hearing):
    tune = np.concatenate([note(SCALE[step]) for step in (0, 3, 2, 2, 6)])
    assert hearing.onsets(tune, RATE)[-4:] == pytest.approx(0.3 * np.arange(1, 5), abs=0.03)
    assert len(hearing.onsets(0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE), RATE)) == 0
    assert len(hearing.onsets(np.zeros(100), RATE)) == 0


def test_share_of_the_strongest_partial(hearing):
    t = np.arange(2 * RATE) / RATE
    sound = np.sin(2 * np.pi * 500 * t) + 0.5 * np.sin(2 * np.pi * 1200 * t)
    hertz, share = hearing.strongest_partial(sound, RATE)
    assert (hertz, share) == (pytest.approx(500, abs=1), pytest.approx(0.8, abs=0.001))


def test_a_copy_is_found_where_it_is_and_at_any_loudness(hearing):
    source = [noise(5, 1), noise(40, 2), noise(5, 3)]
    sound = np.concatenate([noise(3, 4), -0.3 * source[1][-2 * RATE :], noise(2, 5)])
    copy = hearing.closest_copy(sound, source, RATE)
    assert copy.likeness > 0.999
    assert copy.source_at - copy.at == pytest.approx(5 + 38 - 3)
    assert hearing.closest_copy(noise(4, 6), source, RATE).likeness < 0.2


def test_the_tool_reports_all_of_it(tmp_path: Path):
    samples = np.round(32767 * np.concatenate([note(hertz) for hertz in SCALE])).astype(np.int16)
    for _ in stream_to_wav([samples[None]], [tmp_path / "x.wav"], RATE):
        pass
    command = [sys.executable, TOOLS / "listen", tmp_path / "x.wav", "--corpus", "sine"]
    report = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert (report["seconds"], len(report["pitches"])) == (pytest.approx(2.4), 8)
    assert set(report) == {"seconds", "pitches", "onsets", "strongest_partial", "closest_copy"}
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "8 of the scale" in said
