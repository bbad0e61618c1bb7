"""``seqmem data prepare-audio``."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqmem.data.audio_store import AudioStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for index in range(5):
        soundfile.write(tmp_path / "in" / f"{index} é.wav", 0.5 * np.sin(np.arange(4000) / (index + 2)), 8000)
    (tmp_path / "in" / "bad.wav").write_text("text")
    return tmp_path / "in"


def test_a_folder_becomes_a_store_with_report_and_picture(seqmem, folder, tmp_path):
    out = tmp_path / "out"
    finished = seqmem("data", "prepare-audio", folder, "--out", out, "--sample-rate", 4000, "--workers", 1)
    assert (finished.code, finished.err) == (0, "")
    assert "split by file, 90/5/5 by a hash of its name; 1 of 6 files dropped." in finished.out
    assert "files      5 kept, 1 dropped: 1 corrupt\n" in finished.out
    assert "bad file   bad.wav: corrupt (Format not recognised)\n" in finished.out
    assert f"store      {out}\npicture    {out / 'report.png'}\n" in finished.out
    assert f"Next: seqmem train recipes/audio --data {out} --codec.sample_rate 4000\n" in finished.out
    assert AudioStore.open(out).sample_rate == 4000
    assert json.loads((out / "report.json").read_text())["num_files"] == 5
    assert (out / "report.png").stat().st_size > 1000
    again = seqmem("data", "prepare-audio", folder, "--out", out, "--sample-rate", 4000)
    assert (again.code, again.out) == (0, finished.out)


def test_by_default_training_on_the_folder_finds_the_store(seqmem, folder, tmp_path, monkeypatch):
    monkeypatch.delenv("SEQMEM_DATA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert seqmem("data", "prepare-audio", folder).code == 0
    (store,) = (tmp_path / "cache" / "seqmem" / "sounds").glob("in-*")
    assert AudioStore.open(store).sample_rate == 16000


def test_a_refusal_is_one_line_with_the_reason(seqmem, folder, tmp_path):
    for index in range(9):
        (folder / f"bad {index}.wav").touch()
    finished = seqmem("data", "prepare-audio", folder, "--out", tmp_path / "out")
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith(f"error: sounds '{folder}': 10 of 15 files")
    assert "9 empty; first: bad 0.wav (empty: 0 bytes)" in finished.err
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "prepare-audio"], "Missing argument 'PATH'."),
        (["data", "prepare-audio", "x", "--sample-rate", "10"], "10 is not in the range 1000<=x<=192000"),
        (["data", "prepare-text", "x"], "No such command 'prepare-text'"),
    ],
)
def test_misuse_is_exit_code_2(seqmem, arguments, message):
    finished = seqmem(*arguments)
    assert finished.code == 2
    assert message in finished.err
