"""All of PG-19, as small as it is here: counted, gone on with, refused where it is not PG-19."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from seqmem.data.download import counts, fetch_all
from seqmem.data.download.counts import Counts
from seqmem.data.download.pg19 import LOCK, download
from seqmem.errors import SeqmemError

SPLITS = ("train", "validation", "test")


def fetched(bucket, folder: Path, *splits: str, num_workers: int = 3) -> dict[str, Counts]:
    bucket.requests.clear()
    return download(folder, splits or SPLITS, "bucket", bucket.base_url, num_workers)


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_every_file_is_fetched_and_counted(bucket, tmp_path):
    counted = fetched(bucket, tmp_path / "a" / "pg19")
    assert counted == {"train": Counts(5, 5533), "validation": Counts(1, 500), "test": Counts(3, 41_078)}
    assert files_of(tmp_path / "a" / "pg19") == bucket.files
    assert bucket.fetched() == sorted(bucket.files)


def test_again_only_the_listing_is_asked_for(bucket, tmp_path):
    first = fetched(bucket, tmp_path)
    assert fetched(bucket, tmp_path) == first
    assert bucket.fetched() == []


def test_a_split_alone_comes_with_the_metadata(bucket, tmp_path):
    assert [*fetched(bucket, tmp_path, "test", "validation")] == ["test", "validation"]
    assert {name for name in bucket.files if not name.startswith("train")} == {*files_of(tmp_path)}
    fetched(bucket, tmp_path, "train")
    assert bucket.fetched() == sorted(name for name in bucket.files if name.startswith("train"))


def test_progress_is_told_in_bytes(bucket, tmp_path):
    told: list[tuple[int, int]] = []
    bucket.play("test/2.txt", bucket.drop_after(5000), bucket.send())
    download(tmp_path, SPLITS, "bucket", bucket.base_url, 3, lambda *now: told.append(now))
    (total,) = {total for _, total in told}
    assert total == sum(done for done, _ in told) == sum(map(len, bucket.files.values()))


def test_files_that_fail_stop_no_others(bucket, tmp_path):
    bucket.always("test/1.txt", bucket.status(404))
    bucket.always("train/13.txt", bucket.send(b"<html>"))
    with pytest.raises(SeqmemError) as error:
        fetched(bucket, tmp_path)
    assert str(error.value).startswith("2 of 10 files failed (t")
    assert "; 8 are whole, and the same command goes on; the first that failed: http" in str(error.value)
    assert "\n" not in str(error.value)
    assert {*files_of(tmp_path)} >= {*bucket.files} - {"test/1.txt", "train/13.txt"}
    assert not (tmp_path / "test" / "1.txt").exists()
    assert not (tmp_path / "train" / "13.txt").exists()
    bucket.tricks.clear()
    fetched(bucket, tmp_path)
    assert bucket.fetched() == ["test/1.txt", "train/13.txt"]
    assert files_of(tmp_path) == bucket.files


def test_where_nothing_comes_the_rest_is_not_tried(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_all, "HOPELESS", 4)
    for name in bucket.files:
        bucket.always(name, bucket.status(403))
    with pytest.raises(
        SeqmemError, match=r"4 of 10 files failed \(.*, \.\.\.\), 4 in a row, and the rest was not tried"
    ):
        fetched(bucket, tmp_path, num_workers=1)
    assert len(bucket.fetched()) < 10


@pytest.mark.parametrize("off", [-0.0009, 0.0009])
def test_a_few_words_more_or_less_are_told(bucket, tmp_path, monkeypatch, off):
    monkeypatch.setitem(counts.WORDS, "test", round(41_078 * (1 + off)))
    assert fetched(bucket, tmp_path, "test")["test"].words == 41_078


@pytest.mark.parametrize("off", [-0.0012, 0.0012])
def test_many_words_more_or_less_are_refused(bucket, tmp_path, monkeypatch, off):
    official = round(41_078 * (1 + off))
    monkeypatch.setitem(counts.WORDS, "test", official)
    with pytest.raises(SeqmemError, match=f"has 41,078 words for test, PG-19 {official:,}; name the base URL of"):
        fetched(bucket, tmp_path, "test")


def test_other_files_among_the_books_are_refused(bucket, tmp_path):
    fetched(bucket, tmp_path)
    (tmp_path / "test" / "another.txt").touch()
    (tmp_path / "test" / "train.parquet").touch()
    (tmp_path / "SOURCES.csv").touch()
    with pytest.raises(SeqmemError, match=r"test holds 2 files that are not of this copy of PG-19, first another\.txt"):
        fetched(bucket, tmp_path)
    fetched(bucket, tmp_path, "train")


def test_a_disk_that_is_too_small_is_told_before(bucket, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    size = sum(len(content) for name, content in bucket.files.items() if not name.startswith("tr"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=size))
    fetched(bucket, tmp_path, "validation", "test")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    fetched(bucket, tmp_path, "validation", "test")
    with pytest.raises(SeqmemError, match=r"has 0\.0 GB of free disk, and 0\.0 GB are to be fetched; make room"):
        fetched(bucket, tmp_path)
    assert bucket.fetched() == []


def test_a_disk_that_gets_full_stops_everything(bucket, tmp_path, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(SeqmemError) as error:
            fetched(bucket, tmp_path, num_workers=1)
    assert str(error.value).startswith(f"{tmp_path} cannot be written (No space left on device); make room or")
    assert len(bucket.fetched()) < 10
    fetched(bucket, tmp_path)
    assert files_of(tmp_path) == bucket.files


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_file_in_the_place_of_the_folder_is_refused(bucket, tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(SeqmemError, match=r"cannot be written \(.*\); name another folder"):
        fetched(bucket, tmp_path / "file" / below)


def test_a_file_in_the_place_of_a_split_is_refused(bucket, tmp_path):
    (tmp_path / "test").touch()
    with pytest.raises(SeqmemError, match=f"{tmp_path / 'test'} cannot be written \\(.*\\); make room or change"):
        fetched(bucket, tmp_path)


def test_a_folder_in_the_place_of_a_book_is_refused(bucket, tmp_path):
    (tmp_path / "test" / "1.txt").mkdir(parents=True)
    with pytest.raises(SeqmemError, match=r"test/1.txt cannot be written \(.*\); make room or change"):
        fetched(bucket, tmp_path)


def test_one_download_at_a_time_writes_to_a_folder(bucket, tmp_path):
    with FileLock(tmp_path / LOCK), pytest.raises(SeqmemError, match=f"another download writes to {tmp_path}; wait"):
        fetched(bucket, tmp_path)
    fetched(bucket, tmp_path)
