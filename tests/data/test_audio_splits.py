"""Splits are the owner's or the publisher's where there are any, and otherwise depend on names alone."""

from pathlib import Path

import pytest

from seqmem.data.audio_files import SoundFile
from seqmem.data.audio_splits import split_files
from seqmem.data.corpus import SPLITS
from seqmem.errors import SeqmemError


def files(*names: str, **splits: str) -> list[SoundFile]:
    return [SoundFile(name, Path(name), "1 1", splits.get(name[0], "")) for name in sorted(names)]


def dealt(root: Path, given: list[SoundFile]) -> tuple[dict[str, list[str]], str]:
    parts, rule = split_files(root, given)
    assert all(part[1:] == (0, 1) for split in SPLITS for part in parts[split])
    return {split: [part.name for part in parts[split]] for split in SPLITS}, rule


@pytest.mark.parametrize("word", ["validation", "valid", "val", "dev"])
def test_a_manifest_says_so(tmp_path, word):
    splits, rule = dealt(tmp_path, files("a", "b", "c", a="test", b=word, c="train"))
    assert splits == {"train": ["c"], "validation": ["b"], "test": ["a"]}
    assert rule == "split by the manifest"


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"a": "train", "b": "vali"}, "'b' has the split 'vali'; did you mean 'valid'"),
        ({"a": "train"}, "'b' has no split, though others have"),
        ({"a": "train", "b": "test"}, "split by the manifest: no usable file for validation"),
        ({"a": "valid", "b": "test"}, "split by the manifest: no usable file for train"),
    ],
)
def test_a_manifest_that_does_not_say_is_an_error(tmp_path, splits, message):
    with pytest.raises(SeqmemError, match=message):
        split_files(tmp_path, files("a", "b", **splits))


@pytest.mark.parametrize("word", ["validation", "valid", "val", "dev"])
def test_subfolders_are_the_splits_and_others_are_left_out(tmp_path, word):
    splits, rule = dealt(tmp_path, files("train/x/1", "train/2", f"{word}/3", "test/4", "other/5", "6"))
    assert splits == {"train": ["train/2", "train/x/1"], "validation": [f"{word}/3"], "test": ["test/4"]}
    assert rule == "split by subfolders"


def test_subfolders_need_validation_but_no_test(tmp_path):
    assert dealt(tmp_path, files("train/1", "dev/2"))[0]["test"] == []
    with pytest.raises(SeqmemError, match="split by subfolders: no usable file for validation"):
        split_files(tmp_path, files("train/1", "test/2"))


def test_speech_commands_has_lists(tmp_path):
    (tmp_path / "validation_list.txt").write_text("one/b.wav\ntwo/a.wav\n")
    (tmp_path / "testing_list.txt").write_text("two/b.wav\n")
    names = ("one/a.wav", "one/b.wav", "two/a.wav", "two/b.wav", "_background_noise_/tap.wav")
    splits, rule = dealt(tmp_path, files(*names))
    assert splits == {"train": ["one/a.wav"], "validation": ["one/b.wav", "two/a.wav"], "test": ["two/b.wav"]}
    assert rule == "split by validation_list.txt and testing_list.txt"


def test_spoken_digits_are_split_by_their_index(tmp_path):
    names = [
        f"recordings/{digit}_{who}_{index}.wav" for digit in "07" for who in ("theo", "lucas") for index in range(50)
    ]
    splits, rule = dealt(tmp_path, files(*names))
    assert {split: len(found) for split, found in splits.items()} == {"train": 160, "validation": 20, "test": 20}
    assert all(0 <= int(name.rstrip(".wav").split("_")[2]) < 5 for name in splits["test"])
    assert all(5 <= int(name.rstrip(".wav").split("_")[2]) < 10 for name in splits["validation"])
    assert "Free Spoken Digit Dataset" in rule


@pytest.mark.parametrize(
    "names", [("0_theo_1", "0_theo_2", "0_theo_3"), ("0_theo_1", "0_theo_6", "0_theo_11", "other")]
)
def test_names_that_only_look_like_spoken_digits_are_hashed(tmp_path, names):
    assert "hash" in split_files(tmp_path, files(*names)).rule


def test_a_hash_deals_files_about_90_5_5_whatever_else_is_there(tmp_path):
    names = [f"{index}.wav" for index in range(2000)]
    splits, rule = dealt(tmp_path, files(*names))
    assert rule == "split by file, 90/5/5 by a hash of its name"
    assert [len(splits[split]) / 2000 for split in SPLITS] == pytest.approx([0.90, 0.05, 0.05], abs=0.015)
    fewer, _ = dealt(tmp_path, files(*names[:1000]))
    assert all(set(fewer[split]) <= set(splits[split]) for split in SPLITS)


@pytest.mark.parametrize("count", range(3, 30))
def test_three_files_are_enough_for_a_file_in_each_split(tmp_path, count):
    names = [f"{count} {index}" for index in range(count)]
    splits, _ = dealt(tmp_path, files(*names))
    assert all(splits.values())
    assert sorted(name for found in splits.values() for name in found) == sorted(names)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_files_are_cut_and_nothing_is_lost(tmp_path, count):
    given = files(*"ab"[:count])
    parts, rule = split_files(tmp_path, given)
    assert rule == "each file cut 90/5/5"
    for file in given:
        ranges = [part.within(12345) for split in SPLITS for part in parts[split] if part.name == file.name]
        assert [sample for within in ranges for sample in within] == list(range(12345))
        assert [len(within) / 12345 for within in ranges] == pytest.approx([0.90, 0.05, 0.05], abs=1e-3)
