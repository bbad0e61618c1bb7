"""Finding sound files and reading them: any form, and what is wrong with bad ones."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqmem.data import audio_files
from seqmem.data.audio_files import BadFileError, find_files, open_sound
from seqmem.errors import SeqmemError

AUDIO = Path(__file__).parents[3] / "shared" / "data" / "audio"
TONE = 0.5 * np.sin(np.arange(8000) / 10)


def wav(path: Path, values: np.ndarray = TONE, subtype: str = "PCM_16", rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, values, rate, subtype)
    return path


def read(path: Path) -> tuple[int, np.ndarray]:
    with open_sound(path) as sound:
        return sound.sample_rate, np.concatenate(list(sound.blocks()))


def test_a_folder_is_searched_to_the_bottom_and_sorted(tmp_path):
    for name in ("b/ä ö.wav", "a.WAV", "b/c/d.flac", "e.ogg", "._a.wav", ".git/x.wav", "notes.txt", "x.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    assert [file.name for file in find_files(tmp_path)] == ["a.WAV", "b/c/d.flac", "b/ä ö.wav", "e.ogg"]


def test_one_file_is_enough(tmp_path):
    assert [file.name for file in find_files(wav(tmp_path / "one two.wav"))] == ["one two.wav"]


def test_another_content_is_another_version(tmp_path):
    before = find_files(wav(tmp_path / "a.wav"))
    assert find_files(tmp_path)[0].version == before[0].version
    wav(tmp_path / "a.wav", TONE[:4000])
    assert find_files(tmp_path)[0].version != before[0].version


def test_a_manifest_lists_paths_relative_to_itself(tmp_path):
    wav(tmp_path / "sounds" / "a.wav")
    entries = [{"path": "sounds/a.wav", "split": "valid", "duration": 1.0}, {"path": "gone.wav", "split": "train"}]
    manifest = tmp_path / "data.jsonl"
    manifest.write_text("\n\n".join(map(json.dumps, entries)) + "\n")
    files = find_files(manifest)
    assert [(file.name, file.path, file.split) for file in files] == [
        ("gone.wav", tmp_path / "gone.wav", "train"),
        ("sounds/a.wav", tmp_path / "sounds" / "a.wav", "valid"),
    ]
    assert not files[0].version


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav", r"line 2: not JSON; write one object a line"),
        ('{"file": "a.wav"}', r'line 2: needs a "path"'),
        ('["a.wav"]', r'line 2: needs a "path"'),
        ('{"path": "a.wav", "split": 1}', r'line 2: needs a "path", and "split" if given must be a word'),
        ('{"path": "x.wav"}', r"line 2: 'x.wav' is listed a second time"),
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(tmp_path, line, message):
    manifest = tmp_path / "data.jsonl"
    manifest.write_text(f'{{"path": "x.wav"}}\n{line}\n')
    with pytest.raises(SeqmemError, match=message):
        find_files(manifest)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "do not exist; name a folder"),
        (lambda path: path.mkdir(), "no .wav, .flac or .ogg file there"),
        (lambda path: path.touch(), "neither a folder nor a .jsonl manifest"),
    ],
)
def test_nothing_to_find_is_an_error(tmp_path, make: Callable[[Path], None], message):
    make(tmp_path / "sounds")
    with pytest.raises(SeqmemError, match=message):
        find_files(tmp_path / "sounds")


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.flac", "PCM_24", 2**-23),
        ("a.ogg", "VORBIS", 0.05),
    ],
)
def test_every_form_is_read(tmp_path, name, subtype, tolerance):
    rate, values = read(wav(tmp_path / name, TONE, subtype, 22050))
    assert (rate, values.dtype, values.shape) == (22050, np.float32, (8000, 1))
    assert np.abs(values[:, 0] - TONE).max() <= tolerance


def test_every_channel_is_read_in_blocks_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_files, "BLOCK_VALUES", 600)
    six = np.stack([TONE * channel / 6 for channel in range(6)], 1)
    with open_sound(wav(tmp_path / "a.wav", six)) as sound:
        blocks = list(sound.blocks())
        assert sound.seconds == 1
    assert {block.size for block in blocks} == {600}
    assert np.abs(np.concatenate(blocks) - six).max() <= 2**-15


@pytest.mark.skipif(not AUDIO.is_dir(), reason="needs ../shared/data/audio")
@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("fsdd/0_george_0.wav", 8000),
        ("librivox/sense_and_sensibility_01_austen_64kb-0870.wav", 16000),
        ("ljspeech/LJ001-0001.flac", 22050),
        ("violin/john-garner_bwv1002_mov7.flac", 16000),
    ],
)
def test_real_files_are_read_whole(name, rate):
    with open_sound(AUDIO / name) as sound:
        length = sum(map(len, sound.blocks()))
        assert (sound.sample_rate, length) == (rate, round(sound.seconds * rate))


def cut(length: int | float) -> Callable[[bytes], bytes]:
    return lambda content: content[: length if isinstance(length, int) else int(length * len(content))]


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("a.wav", cut(0), "empty: 0 bytes"),
        ("a.wav", cut(20), "corrupt: Error in WAV"),
        ("a.wav", cut(44), "empty: no samples"),
        ("a.wav", lambda content: content[:40] + bytes(4), "empty: no samples"),
        ("a.wav", cut(0.5), "corrupt: breaks off after 0.50 s"),
        ("a.wav", lambda content: b"Not sound but text.\n" * 50, "corrupt: Format not recognised"),
        ("a.wav", lambda content: content[:24] + bytes([1, 0, 0, 0]) + content[28:], "corrupt: its header says 1 samp"),
        ("a.flac", cut(20), "corrupt: "),
        ("a.flac", cut(0.5), "corrupt: "),
        ("a.flac", lambda content: content[:2000] + bytes(500) + content[2500:], "corrupt: "),
        ("a.ogg", cut(0.5), "corrupt: "),
    ],
)
def test_bad_files_have_a_reason(tmp_path, name, damage: Callable[[bytes], bytes], reason):
    path = wav(tmp_path / name, TONE, "VORBIS" if name.endswith("ogg") else "PCM_16")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadFileError) as error:
        read(path)
    assert f"{error.value.reason}: {error.value.detail}".startswith(reason)


def test_a_wav_written_to_a_pipe_is_whole(tmp_path):
    path = wav(tmp_path / "a.wav")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    assert len(read(path)[1]) == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_found(tmp_path, value):
    values = TONE.copy()
    values[5000] = value
    with pytest.raises(BadFileError, match="NaN or infinite samples"):
        read(wav(tmp_path / "a.wav", values, "FLOAT"))


def test_a_missing_file_has_a_reason(tmp_path):
    with pytest.raises(BadFileError, match="missing"):
        read(tmp_path / "a.wav")


def test_without_soundfile_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(SeqmemError, match=r'soundfile .*pip install "seqmem\[audio\]"'):
        read(tmp_path / "a.wav")
