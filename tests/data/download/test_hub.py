"""PG-19 as Parquet files, from a server that answers as the Hub does."""

import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from seqmem.data.download.counts import BOOKS, Counts
from seqmem.data.download.pg19 import download
from seqmem.errors import SeqmemError

LISTING = "api/datasets/emozilla/pg19/tree/main/data"
FILES = "datasets/emozilla/pg19/resolve/main/"
SHARDS = {
    "data/train-00000-of-00002-ab.parquet": 3,
    "data/train-00001-of-00002-cd.parquet": 2,
    "data/validation-00000-of-00001.parquet": 1,
    "data/test-00000-of-00001-ef.parquet": 3,
}


def entry(path: str, content: bytes) -> dict[str, object]:
    oid = hashlib.sha256(content).hexdigest()
    return {"type": "file", "oid": "f0", "size": len(content), "lfs": {"oid": oid, "size": len(content)}, "path": path}


@pytest.fixture
def hub(bucket, tmp_path: Path):
    """The server, with ``listed`` to be changed; what is asked for is redirected once, as the Hub does."""
    bucket.listed = []
    for path, rows in SHARDS.items():
        columns = {"short_book_title": ["A"] * rows, "publication_date": [1900] * rows, "text": ["some words"] * rows}
        parquet.write_table(pa.table(columns), tmp_path / "shard")
        content = (tmp_path / "shard").read_bytes()
        bucket.listed.append(entry(path, content))
        bucket.files[f"cdn/{path}"] = content
        bucket.always(FILES + path, bucket.status(302, Location=f"/pg19/cdn/{path}"))
    bucket.always(LISTING, lambda handler, content: handler.answer(json.dumps(bucket.listed).encode()))
    return bucket


def fetched(hub, folder: Path, *splits: str) -> dict[str, Counts]:
    return download(folder, splits, "hub", hub.base_url)


def test_the_files_of_each_split_are_fetched_into_its_folder(hub, tmp_path):
    counts = fetched(hub, tmp_path / "out", "train", "test")
    assert counts == {"train": Counts(5, None), "test": Counts(3, None)}
    for path in SHARDS:
        split, name = path.removeprefix("data/").partition("-")[0], path.removeprefix("data/")
        whole = tmp_path / "out" / split / name
        assert whole.exists() == (split != "validation")
        assert split == "validation" or whole.read_bytes() == hub.files[f"cdn/{path}"]


def test_a_broken_connection_is_gone_on_with(hub, tmp_path):
    hub.play("cdn/data/test-00000-of-00001-ef.parquet", hub.drop_after(100))
    fetched(hub, tmp_path / "out", "test")
    assert [extent for name, extent in hub.requests if name.startswith("cdn/")] == [None, "bytes=100-"]


@pytest.mark.parametrize(
    ("listing", "reason"),
    [
        (b"<html>Log in</html>", "is no list of files; name the base URL of a Hugging Face Hub"),
        (b'{"error": "not found"}', "is no list of files"),
        (b"[1]", "is no list of files"),
        (b"[]", "does not list all Parquet files of train"),
    ],
)
def test_what_is_no_listing_is_refused(hub, tmp_path, listing, reason):
    hub.always(LISTING, hub.send(listing))
    with pytest.raises(SeqmemError, match=f"{LISTING} {reason}"):
        fetched(hub, tmp_path / "out", "train")


@pytest.mark.parametrize("missing", [0, 1])
def test_a_listing_that_lacks_a_file_is_refused(hub, tmp_path, missing):
    del hub.listed[missing]
    with pytest.raises(SeqmemError, match="does not list all Parquet files of train; name another base URL"):
        fetched(hub, tmp_path / "out", "train")


@pytest.mark.parametrize("change", [{"size": None}, {"lfs": None}, {"lfs": {}}, {"lfs": {"oid": "../x"}}])
def test_a_file_that_could_not_be_verified_is_refused(hub, tmp_path, change):
    hub.listed[3] |= change
    with pytest.raises(SeqmemError, match=r"ef\.parquet is listed without size or SHA-256"):
        fetched(hub, tmp_path / "out", "test")


def test_another_content_than_listed_is_refused(hub, tmp_path):
    name = "cdn/data/test-00000-of-00001-ef.parquet"
    hub.files[name] = b"x" * len(hub.files[name])
    with pytest.raises(SeqmemError, match=r"1 of 1 files failed \(test/test-.* has the sha256 "):
        fetched(hub, tmp_path / "out", "test")
    assert not [*(tmp_path / "out" / "test").iterdir()]


def test_a_file_that_is_no_parquet_is_an_error(hub, tmp_path):
    name = "data/test-00000-of-00001-ef.parquet"
    hub.files[f"cdn/{name}"] = b"no Parquet\nfile"
    hub.listed[3] = entry(name, b"no Parquet\nfile")
    with pytest.raises(SeqmemError, match=r"parquet is no Parquet file \(.*\); name another base URL") as error:
        fetched(hub, tmp_path / "out", "test")
    assert "\n" not in str(error.value)


def test_another_number_of_books_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(BOOKS, "test", 4)
    with pytest.raises(SeqmemError, match="has 3 books for test, PG-19 4"):
        fetched(hub, tmp_path / "out", "test")


def test_without_pyarrow_nothing_is_fetched(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SeqmemError, match=r"pyarrow, which reads it, is missing; pip install 'seqmem\[data\]'"):
        fetched(hub, tmp_path / "out", "test")
    assert hub.requests == []
