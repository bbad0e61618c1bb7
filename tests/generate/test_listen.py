"""What is wrong is told, and good sounds raise no warning."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from seqmem.config import CodecConfig
from seqmem.data.codec import Codec
from seqmem.generate.listen import warnings_about

AUDIO = Path(__file__).parents[3] / "shared" / "data" / "audio"
RATE = 16000


def tone(seconds: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    """A harmonic sound that fades in and out twice a second, -1 ... 1."""
    time = np.arange(round(seconds * rate)) / rate
    partials = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 6))
    return amplitude * np.sin(np.pi * 2 * time) ** 2 * partials / 1.8


def white(seconds: float, amplitude: float = 0.2, rate: int = RATE) -> np.ndarray:
    return amplitude * np.random.default_rng(0).normal(size=round(seconds * rate))


def pcm(signal: np.ndarray) -> np.ndarray:
    return np.clip(np.round(signal * 32768), -32768, 32767).astype(np.int16)


def random_levels(seconds: float) -> np.ndarray:
    """What an untrained model of mu-law levels says."""
    codec = Codec(CodecConfig())
    return codec.decode(np.random.default_rng(0).integers(0, 256, round(seconds * RATE))) / 32768


BAD = {
    "silence: never louder than -120 dBFS": lambda: np.zeros(RATE),
    "silence: never louder than -70 dBFS": lambda: white(1, 10**-3.5),
    "silence from 1.0 s to 4.0 s": lambda: np.concatenate([tone(1), np.zeros(3 * RATE)]),
    "clipping: ": lambda: tone(3, amplitude=4),
    "noise from 0.0 s to 3.0 s": lambda: white(3),
    "noise from 0.0 s to 2.0 s": lambda: random_levels(2),
    "noise from 1.0 s to 1.6 s": lambda: np.concatenate([tone(1), white(0.6), tone(1)]),
    "noise from 2.0 s to 3.0 s": lambda: np.concatenate([tone(2), np.convolve(white(1), [1, 0.6])[:RATE]]),
    "offset: the mean is +10% of full scale": lambda: tone(2) + 0.1,
}


@pytest.mark.parametrize(("warning", "signal"), BAD.items(), ids=list(BAD))
def test_one_fault_gives_one_warning(warning: str, signal: Callable[[], np.ndarray]):
    (found,) = warnings_about(pcm(signal()), RATE)
    assert found.startswith(warning)


def test_a_stuck_level_is_silence_and_an_offset():
    silence, offset = warnings_about(pcm(np.full(RATE, -0.5)), RATE)
    assert silence.startswith("silence")
    assert offset == "offset: the mean is -50% of full scale"


@pytest.mark.parametrize("rate", [1000, 8000, 22050, 44100, 192000])
def test_noise_and_tone_are_told_apart_at_any_rate(rate: int):
    assert [warning.split()[0] for warning in warnings_about(pcm(white(2, rate=rate)), rate)] == ["noise"]
    if rate > 4000:
        assert warnings_about(pcm(tone(2, rate=rate)), rate) == []


@given(st.integers(0, 400), st.sampled_from([1000, 8000]))
def test_sounds_of_any_length_are_judged(num_samples: int, rate: int):
    warnings = warnings_about(np.zeros(num_samples, np.int16), rate)
    assert bool(warnings) == (num_samples >= 0.05 * rate)


def recordings() -> Iterator[Path]:
    for folder in ("ljspeech", "librispeech", "librivox", "violin", "music"):
        yield from sorted((AUDIO / folder).glob("*.[wf][al]*"))
    yield from sorted((AUDIO / "fsdd").glob("*.wav"))[::10]


@pytest.mark.skipif(not AUDIO.is_dir(), reason="needs ../shared/data/audio")
@pytest.mark.parametrize("codec", [None, CodecConfig(), CodecConfig(kind="linear")], ids=["as-is", "mu-law", "linear"])
def test_recordings_raise_no_warning(codec: CodecConfig | None):
    found, count = {}, 0
    for path in recordings():
        samples, rate = soundfile.read(path, dtype="int16")
        if codec:
            samples = Codec(codec).decode(Codec(codec).encode(samples))
        count += 1
        if warnings := warnings_about(samples, rate):
            found[path.name] = warnings
    assert not found
    assert count > 300
