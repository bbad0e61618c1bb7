"""From files to a store: what is kept, dropped and refused; by any number of processes, also after a kill."""

import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqmem.data import audio_convert
from seqmem.data.audio_files import BLOCK_VALUES
from seqmem.data.audio_prepare import prepare
from seqmem.data.audio_store import AudioStore
from seqmem.data.corpus import SPLITS
from seqmem.errors import SeqmemError

AUDIO = Path(__file__).parents[3] / "shared" / "data" / "audio"
RATE = 8000


def tone(seconds: float = 1.0, hertz: float = 440, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(path: Path, values: np.ndarray, subtype: str = "PCM_16", rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, values, rate, subtype)
    return path


def recordings(store: AudioStore) -> dict[str, list[np.ndarray]]:
    """By name, without the silence that begins each; of a cut file, its parts in order."""
    found: dict[str, list[np.ndarray]] = {}
    for split in SPLITS:
        parts = np.split(store.samples[split], store.starts[split][1:])
        for name, part in zip(store.names[split], parts, strict=False):
            assert part[0] == 0
            found.setdefault(name, []).append(part[1:])
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve sounds of different length."""
    for index in range(12):
        wav(tmp_path / "in" / f"{index % 3}" / f"{index}.wav", tone(0.1 + index / 50, 100 + 50 * index))
    return tmp_path / "in"


def test_samples_at_the_same_rate_are_the_files_own(folder, tmp_path):
    store = prepare(folder, RATE, tmp_path / "out")
    found = recordings(store)
    assert len(found) == 12
    for name, (samples,) in found.items():
        assert np.array_equal(samples, soundfile.read(folder / name, dtype="int16")[0])
    assert store.note.startswith(f"Sounds of {folder} at 8,000 samples/s")
    assert store.note.endswith("split by file, 90/5/5 by a hash of its name; 0 of 12 files dropped.")
    assert not (tmp_path / ".out.parts").exists()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_channels_are_mixed_and_rates_changed(tmp_path, subtype):
    values = np.stack([tone(2, rate=44100) * share for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)], 1)
    wav(tmp_path / "in" / "six ä channels.wav", values, subtype, 44100)
    parts = recordings(prepare(tmp_path / "in", 16000, tmp_path / "out"))["six ä channels.wav"]
    assert [len(part) for part in parts] == [28800, 1600, 1600]
    samples = np.concatenate(parts)
    assert np.abs(samples).max() == pytest.approx(0.25 * 32768, rel=5e-3)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) / 2 == 440


def test_one_file_of_a_second_is_enough(tmp_path):
    path = wav(tmp_path / "a.wav", tone())
    store = prepare(path, RATE, tmp_path / "out")
    assert np.array_equal(np.concatenate(recordings(store)["a.wav"]), soundfile.read(path, dtype="int16")[0])
    assert store.report.num_files == 1
    assert list(store.report.seconds.values()) == [0.9, 0.05, 0.05]


def test_names_need_not_be_utf_8(folder, tmp_path):
    for letter in (b"\xe8", b"\xe9"):
        content = (folder / "0" / "0.wav").read_bytes()
        with open(os.fsencode(folder) + b"/" + letter + b".wav", "wb") as file:
            file.write(content)
    store = prepare(folder, RATE, tmp_path / "out")
    assert store.report.num_files == 14
    assert {"\\xe8.wav", "\\xe9.wav"} <= set(recordings(store))


def test_bad_files_are_named_counted_and_skipped(folder, tmp_path):
    good = prepare(folder, RATE, tmp_path / "good")
    (folder / "empty.wav").touch()
    (folder / "header.wav").write_bytes((folder / "0" / "0.wav").read_bytes()[:20])
    (folder / "text.wav").write_text("Not sound but text.\n" * 50)
    wav(folder / "nan.wav", np.where(np.arange(4000) == 3000, np.nan, tone(0.5)), "FLOAT")
    wav(folder / "none.wav", np.zeros(0))
    wav(folder / "quiet.wav", 0.0005 * tone(0.5))
    wav(folder / "short.wav", tone(0.04))
    cut = wav(folder / "cut.flac", tone(1))
    cut.write_bytes(cut.read_bytes()[:2000])
    store = prepare(folder, RATE, tmp_path / "out")
    assert store.digest == good.digest
    report = store.report
    assert report.num_files == 12
    reasons = {reason: what["files"] for reason, what in report.dropped.items()}
    assert reasons == {"NaN or infinite samples": 1, "corrupt": 3, "empty": 2, "silent": 1, "too short": 1}
    assert [bad["name"] for bad in report.bad_files] == sorted(path.name for path in folder.glob("*.*"))
    assert report.dropped["corrupt"]["seconds"] == 1, "the length in the header of the one that was cut"
    assert report.histogram == good.report.histogram, "nothing of a dropped file is measured"
    assert "8 of 20 files dropped" in store.note


@pytest.mark.parametrize("num_bad", [12, 13])
def test_most_files_bad_is_refused_with_reasons(folder, tmp_path, num_bad):
    for index in range(num_bad):
        (folder / f"{index}.wav").write_text("text")
    if num_bad == 12:
        assert prepare(folder, RATE, tmp_path / "out").report.num_files == 12
        return
    message = r"13 of 25 files, 0.0 of 2.5 s, cannot be used: 13 corrupt; first: 0.wav \(corrupt: Format not"
    with pytest.raises(SeqmemError, match=message):
        prepare(folder, RATE, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_most_of_the_time_bad_is_refused(folder, tmp_path):
    wav(folder / "long.wav", np.zeros(60 * RATE))
    with pytest.raises(SeqmemError, match=r"1 of 13 files, 60.0 of 62.5 s, cannot be used: 1 silent; first: long.wav"):
        prepare(folder, RATE, tmp_path / "out")


def test_a_manifest_with_a_missing_file(folder, tmp_path):
    lines = [
        f'{{"path": "{index % 3}/{index}.wav", "split": "{"dev" if index == 5 else "train"}"}}' for index in range(12)
    ]
    (folder / "list.jsonl").write_text("\n".join([*lines, '{"path": "gone.wav", "split": "test"}']))
    store = prepare(folder / "list.jsonl", RATE, tmp_path / "out")
    assert {split: len(names) for split, names in store.names.items()} == {"train": 11, "validation": 1, "test": 0}
    assert store.report.bad_files == [{"name": "gone.wav", "reason": "missing", "detail": "no such file"}]


def test_a_missing_split_is_told_before_anything_is_converted(folder, tmp_path, monkeypatch):
    (folder / "0").rename(folder / "train")
    monkeypatch.setattr(audio_convert, "_convert_file", lambda *_: pytest.fail("converted"))
    with pytest.raises(SeqmemError, match="no usable file for validation"):
        prepare(folder, RATE, tmp_path / "out")


def test_any_number_of_processes_makes_the_same_store(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(audio_convert, "PIECE_FILES", 4)
    monkeypatch.setattr(audio_convert, "PIECES_WORTH_A_WORKER", 1)
    calls: list[tuple[int, int]] = []
    prepare(folder, RATE, tmp_path / "one", 1)
    prepare(folder, RATE, tmp_path / "two", 2, lambda done, total: calls.append((done, total)))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert calls == [(4, 12)] * 3


def test_how_files_are_grouped_changes_nothing(folder, tmp_path, monkeypatch):
    prepare(folder, 11025, tmp_path / "one")
    monkeypatch.setattr(audio_convert, "PIECE_FILES", 1)
    prepare(folder, 11025, tmp_path / "many")
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


KILLED = """
import os, signal, sys
from pathlib import Path
from seqmem.data import audio_convert
from seqmem.data.audio_prepare import prepare

audio_convert.PIECE_FILES = 2
done = []
def progress(number, total):
    done.append(number)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
prepare(Path(sys.argv[1]), 8000, Path(sys.argv[2]), 1, progress)
"""


def test_a_killed_preparation_goes_on_to_the_same_store(folder, tmp_path, monkeypatch):
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, tmp_path / "killed"])
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    monkeypatch.setattr(audio_convert, "PIECE_FILES", 2)
    half_written = tmp_path / ".killed.parts" / "x.partial"
    half_written.touch()
    converted = count_conversions(monkeypatch)
    prepare(folder, RATE, tmp_path / "killed")
    assert len(converted) == 12 - 3 * 2
    prepare(folder, RATE, tmp_path / "whole")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not half_written.exists()


def count_conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    convert_file: Callable = audio_convert._convert_file
    names: list[str] = []

    def counting(file, *arguments):
        names.append(file.name)
        return convert_file(file, *arguments)

    monkeypatch.setattr(audio_convert, "_convert_file", counting)
    return names


def test_a_store_is_made_once_and_anew_where_files_or_rate_change(folder, tmp_path, monkeypatch):
    converted = count_conversions(monkeypatch)
    first = prepare(folder, RATE, tmp_path / "out")
    assert prepare(folder, RATE, tmp_path / "out").digest == first.digest
    assert len(converted) == 12
    wav(folder / "new.wav", tone())
    assert prepare(folder, RATE, tmp_path / "out").digest != first.digest
    assert prepare(folder, 4000, tmp_path / "out").sample_rate == 4000
    assert len(converted) == 12 + 13 + 13


def test_several_that_want_a_store_at_once_get_the_same_one(folder, tmp_path):
    for turn in range(10):
        out = tmp_path / f"store-{turn}"
        with ThreadPoolExecutor(4) as pool:
            stores = [pool.submit(prepare, folder, RATE, out, 1) for _ in range(4)]
        assert len({store.result().digest for store in stores}) == 1


def test_a_damaged_store_is_made_anew(folder, tmp_path):
    first = prepare(folder, RATE, tmp_path / "out")
    (tmp_path / "out" / "samples-train.i16").write_bytes(b"half")
    assert prepare(folder, RATE, tmp_path / "out").digest == first.digest


def test_a_folder_with_something_else_is_left_alone(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    for out in (tmp_path / "out", tmp_path / "out" / "thesis.txt"):
        with pytest.raises(SeqmemError, match="is there and no store of sounds; name another folder"):
            prepare(folder, RATE, out)


def test_by_default_the_store_is_in_the_users_cache(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("SEQMEM_DATA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stores = [prepare(folder, rate) for rate in (RATE, 4000, RATE)]
    assert stores[0].folder == stores[2].folder != stores[1].folder
    assert all(store.folder.parent == tmp_path / "cache" / "seqmem" / "sounds" for store in stores)
    assert all(store.folder.name.startswith("in-") for store in stores)


def test_a_long_file_is_never_held_whole(tmp_path):
    wav(tmp_path / "in" / "a.wav", np.tile(tone(1, rate=16000), 600)[:, None].repeat(4, 1), rate=16000)
    tracemalloc.start()
    prepare(tmp_path / "in", 16000, tmp_path / "out", 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held_whole = 600 * 16000 * 4 * 4
    assert peak < 40 * BLOCK_VALUES < held_whole / 10


@pytest.mark.skipif(not (AUDIO / "fsdd").is_dir(), reason="needs ../shared/data/audio/fsdd")
def test_real_spoken_digits(tmp_path):
    store = prepare(AUDIO / "fsdd", RATE, tmp_path / "out", 1)
    assert {split: len(names) for split, names in store.names.items()} == {
        "train": 2400,
        "validation": 300,
        "test": 300,
    }
    assert store.report.dropped == {}
    first = store.samples["test"][1 : store.starts["test"][1]]
    assert np.array_equal(first, soundfile.read(AUDIO / "fsdd" / store.names["test"][0], dtype="int16")[0])


@pytest.mark.skipif(not AUDIO.is_dir(), reason="needs ../shared/data/audio")
@pytest.mark.parametrize(("name", "hours"), [("ljspeech", 0.046), ("librivox", 0.007), ("violin", 0.079)])
def test_real_sounds_of_other_rates_and_forms(tmp_path, name, hours):
    store = prepare(AUDIO / name, 16000, tmp_path / "out", 1)
    assert store.report.dropped == {}
    assert sum(store.report.seconds.values()) / 3600 == pytest.approx(hours, abs=0.001)
    assert abs(store.report.dc_offset) < 0.01
    assert store.report.silent < 0.5
