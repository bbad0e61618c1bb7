"""A WAV file that grows is whole at every moment."""

import io
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqmem.errors import SeqmemError
from seqmem.generate import wav
from seqmem.generate.wav import WavWriter, read_wav, stream_to_wav

ENDLESS = """
import itertools, sys
from pathlib import Path
import numpy as np
from seqmem.generate.wav import stream_to_wav
blocks = (np.arange(7 * i, 7 * i + 7).astype(np.int16)[None] for i in itertools.count())
for _ in stream_to_wav(blocks, [Path(sys.argv[1])], 8000):
    pass
"""


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32768, 32768, num_samples).astype(np.int16)


def test_the_file_is_a_mono_16_bit_wav_of_what_was_appended(tmp_path: Path):
    samples = noise(1001)
    with WavWriter(tmp_path / "new" / "x.wav", 22050) as writer:
        for block in np.split(samples, [1, 1, 500]):
            writer.append(block)
    path = tmp_path / "new" / "x.wav"
    heard, rate = soundfile.read(path, dtype="int16")
    assert (rate, soundfile.info(path).subtype) == (22050, "PCM_16")
    np.testing.assert_array_equal(heard, samples)
    np.testing.assert_array_equal(read_wav(path), samples)


def test_an_earlier_file_is_replaced(tmp_path: Path):
    for length in (100, 10):
        with WavWriter(tmp_path / "x.wav", 8000) as writer:
            writer.append(noise(length))
    np.testing.assert_array_equal(read_wav(tmp_path / "x.wav"), noise(10))


def test_rows_go_to_files_of_their_own_as_they_come(tmp_path: Path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    blocks = [noise(20).reshape(2, 10), noise(6, seed=1).reshape(2, 3)]
    written = stream_to_wav(blocks, paths, 8000)
    for block, num_samples in zip(blocks, written, strict=True):
        assert num_samples == block.shape[1]
        for row, path in enumerate(paths):
            np.testing.assert_array_equal(read_wav(path)[-num_samples:], block[row])


def test_the_file_is_whole_after_every_write_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, blocks = tmp_path / "x.wav", [noise(length) for length in (3, 0, 9000, 70000)]
    sounds = [np.concatenate([np.empty(0, np.int16), *blocks[:count]]) for count in range(len(blocks) + 1)]
    lengths = []

    class Watched(io.FileIO):
        def write(self, data) -> int:
            num_bytes = super().write(data)
            sound, _ = soundfile.read(path, dtype="int16")
            lengths.append(len(sound))
            assert any(np.array_equal(sound, expected) for expected in sounds)
            np.testing.assert_array_equal(read_wav(path), sound)
            return num_bytes

    monkeypatch.setattr(Path, "open", lambda path, mode: io.BufferedWriter(Watched(path, mode)))
    with WavWriter(path, 8000) as writer:
        for block in blocks:
            writer.append(block)
    assert lengths == sorted(lengths)
    assert set(lengths) == {len(sound) for sound in sounds}


@pytest.mark.parametrize("num_bytes", [50, 3000, 20000])
def test_a_killed_process_leaves_a_playable_file(tmp_path: Path, num_bytes: int):
    path = tmp_path / "x.wav"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, path], env=environment)
    while not path.exists() or path.stat().st_size < num_bytes:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    sound, rate = soundfile.read(path, dtype="int16")
    assert rate == 8000
    assert len(sound) % 7 == 0
    assert 2 * len(sound) >= num_bytes - 44 - 14
    np.testing.assert_array_equal(sound, np.arange(len(sound)).astype(np.int16))
    with wave.open(str(path)) as file:
        assert file.getnframes() == len(sound)


def test_more_than_a_wav_file_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert wav.HEADER.size + wav.BYTES * wav.MAX_SAMPLES < 1 << 32
    monkeypatch.setattr(wav, "MAX_SAMPLES", 15)
    with WavWriter(tmp_path / "x.wav", 8000) as writer:
        writer.append(noise(10))
        with pytest.raises(SeqmemError, match="holds 4 GB at most"):
            writer.append(noise(10))
    np.testing.assert_array_equal(read_wav(tmp_path / "x.wav"), noise(10))
