"""A store gives back what was put in, and one that is not whole is not taken for one."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.data.audio_report import Measures, Report
from seqmem.data.audio_store import AudioStore, Recording, is_store, write
from seqmem.data.corpus import SPLITS
from seqmem.errors import SeqmemError

REPORT = Report.build(8000, "a rule", 1, dict.fromkeys(SPLITS, 5), Measures())


def put(folder: Path, *train: Recording, test: Iterable[Recording] = (), rate: int = 8000) -> AudioStore:
    return write(folder, rate, {"train": train, "validation": [("v", [])], "test": test}, "a note", "sources", REPORT)


def samples(*values: int) -> np.ndarray:
    return np.array(values, np.int16)


def test_recordings_lie_end_to_end_each_begun_by_silence(tmp_path):
    store = put(tmp_path / "s", ("a", [samples(1, -2), samples(3)]), ("ä", [samples(32767, -32768)]))
    assert store.samples["train"].tolist() == [0, 1, -2, 3, 0, 32767, -32768]
    assert store.starts["train"].tolist() == [0, 4]
    assert store.names == {"train": ["a", "ä"], "validation": ["v"], "test": []}
    assert (store.samples["validation"].tolist(), store.starts["validation"].tolist()) == ([0], [0])
    assert (len(store.samples["test"]), len(store.starts["test"])) == (0, 0)
    assert (store.sample_rate, store.note, store.sources) == (8000, "a note", "sources")
    assert store.report == REPORT


def test_samples_are_mapped_and_cannot_be_written(tmp_path):
    mapped = put(tmp_path / "s", ("a", [samples(1)])).samples["train"]
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == np.int16
    assert not mapped.flags.writeable


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(-32768, 32767), max_size=9), max_size=5), st.integers(1, 4))
def test_how_recordings_come_in_blocks_changes_nothing(tmp_path_factory, recordings, block_len):
    folder = tmp_path_factory.mktemp("stores")
    arrays = [samples(*values) for values in recordings]
    blocks = [np.split(array, range(block_len, len(array), block_len)) for array in arrays]
    whole = put(folder / "whole", *((str(index), [array]) for index, array in enumerate(arrays)))
    split = put(folder / "split", *((str(index), array) for index, array in enumerate(blocks)))
    assert whole.digest == split.digest
    assert whole.samples["train"].tolist() == [value for values in recordings for value in (0, *values)]
    assert np.array_equal(whole.starts["train"], split.starts["train"])


def test_the_digest_tells_sounds_rates_and_borders_apart(tmp_path):
    one = samples(1, 0, 2)
    digests = {
        put(tmp_path / "a", ("a", [one])).digest,
        put(tmp_path / "b", ("a", [one]), rate=16000).digest,
        put(tmp_path / "c", ("a", [one[:1]]), ("b", [one[2:]])).digest,
        put(tmp_path / "d", test=[("a", [one])]).digest,
    }
    assert len(digests) == 4
    assert put(tmp_path / "e", ("another name", [one])).digest in digests


def test_a_store_that_fails_half_way_is_none(tmp_path):
    def broken():
        yield samples(1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        put(tmp_path / "s", ("a", broken()))
    assert not is_store(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("store.json", None, "no store of sounds"),
        ("starts-train.npy", None, "no store of sounds"),
        ("samples-train.i16", b"\0\0\1", "damaged"),
        ("store.json", b"{}", "damaged"),
        ("store.json", b"{", "damaged"),
        ("store.json", json.dumps({"format": 0}).encode(), "format 0, this version reads 1"),
    ],
)
def test_a_damaged_store_is_an_error_with_the_fix(tmp_path, name, content, message):
    put(tmp_path / "s", ("a", [samples(1)]))
    (tmp_path / "s" / name).unlink()
    if content is not None:
        (tmp_path / "s" / name).write_bytes(content)
    with pytest.raises(SeqmemError, match=f"{message}.*seqmem data prepare-audio"):
        AudioStore.open(tmp_path / "s")
