"""A sound file, whatever its form, as samples at one rate."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqmem.data.audio_read import read_sound
from seqmem.errors import SeqmemError


def tone(rate: int, seconds: float = 0.5) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)


def test_16_bit_samples_come_as_they_are(tmp_path: Path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    soundfile.write(tmp_path / "x.wav", samples, 8000)
    np.testing.assert_array_equal(read_sound(tmp_path / "x.wav", 8000), samples)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize(("form", "subtype"), [("flac", "PCM_24"), ("wav", "FLOAT"), ("ogg", "VORBIS")])
def test_channels_are_mixed_and_the_rate_is_changed(tmp_path: Path, rate: int, form: str, subtype: str):
    sound, path = tone(rate), tmp_path / f"x.{form}"
    soundfile.write(path, np.stack([sound, sound / 2, 0 * sound], 1), rate, subtype)
    samples = read_sound(path, 16000)
    assert (samples.dtype, len(samples)) == (np.int16, 8000)
    middle = slice(800, -800)
    error = samples[middle] / 32768 - tone(16000)[middle] / 2
    assert np.sqrt(np.mean(error**2)) < (0.02 if form == "ogg" else 1e-3)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"no sound at all", "corrupt"), (None, "missing")])
def test_what_is_no_sound_is_named(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SeqmemError, match=rf"^sound '.*x\.wav': {reason} \(.*\); name a WAV, FLAC or OGG file$"):
        read_sound(path, 16000)
