"""A bucket's listing, in pages, true and false."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqmem.data.download import counts
from seqmem.data.download.bucket import count, find
from seqmem.data.download.remote import Checksum, RemoteFile
from seqmem.data.download.web import Web
from seqmem.errors import SeqmemError


def listed(bucket, *splits: str) -> list[RemoteFile]:
    return find(Web(bucket.base_url, 1), bucket.base_url, splits)


def page(content: str) -> bytes:
    return f"<ListBucketResult>{content}</ListBucketResult>".encode()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.sets(st.integers(0, 10**6), min_size=1), page_len=st.integers(1, 40), names_markers=st.booleans())
def test_every_book_is_listed_once_whatever_the_pages(bucket, monkeypatch, ids, page_len, names_markers):
    others = {"metadata.csv": b"", "test/": b"", "test/readme.md": b"", "test/../../1.txt": b"", "train/1.txt": b""}
    bucket.files = {f"test/{book}.txt": b"%d" % book for book in ids} | others
    bucket.page_len, bucket.names_markers = page_len, names_markers
    monkeypatch.setitem(counts.BOOKS, "test", len(ids))
    *books, metadata = listed(bucket, "test")
    assert {book.name for book in books} == {f"test/{book}.txt" for book in ids}
    assert len(books) == len(ids)
    assert metadata.name == "metadata.csv"


def test_a_file_is_listed_with_its_address_size_and_md5(bucket):
    bucket.base_url += "/"
    (book, _) = listed(bucket, "validation")
    content = bucket.files["validation/9.txt"]
    digest = hashlib.md5(content).hexdigest()
    address = f"{bucket.base_url}validation/9.txt"
    assert book == RemoteFile(address, "validation/9.txt", len(content), Checksum("md5", digest))
    bucket.has_md5 = False
    assert listed(bucket, "validation")[0].checksum is None


@pytest.mark.parametrize("number", [2, 4])
def test_another_number_of_books_is_refused(bucket, monkeypatch, number):
    monkeypatch.setitem(counts.BOOKS, "test", number)
    with pytest.raises(SeqmemError, match=f"pg19 has 3 books for test, PG-19 {number}; name the base URL of a whole"):
        listed(bucket, "test")


def test_a_bucket_without_metadata_is_refused(bucket):
    del bucket.files["metadata.csv"]
    with pytest.raises(SeqmemError, match=r"pg19 has no metadata\.csv; name"):
        listed(bucket, "test")


ENTRY = "<Contents><Key>test/1.txt</Key><Size>5</Size></Contents>"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "does not list its files as a bucket does; name the URL of a bucket"),
        (b"not XML", "does not list its files as a bucket does"),
        (b"<html><body>Log in</body></html>", "does not list its files as a bucket does"),
        (b"<?xml version='1.0' encoding='none'?><ListBucketResult/>", "does not list its files as a bucket does"),
        (page(f"<IsTruncated>true</IsTruncated>{ENTRY}"), r"lists test/1\.txt twice; try again later"),
        (page("<IsTruncated>true</IsTruncated>"), "lists an empty page before its last"),
        (page("<Contents><Key>test/1.txt</Key><Size>many</Size></Contents>"), r"lists 'test/1\.txt' with 'many' bytes"),
        (page("<Contents><Size>5</Size></Contents>"), "lists '' with '5' bytes"),
        (page(""), "has 0 books for test, PG-19 3"),
    ],
)
def test_a_false_listing_is_an_error_of_one_line(bucket, answer, reason):
    bucket.always("", bucket.send(answer))
    with pytest.raises(SeqmemError, match=f"{bucket.base_url} {reason}") as error:
        listed(bucket, "test")
    assert "\n" not in str(error.value)


def test_a_broken_connection_is_tried_again(bucket):
    bucket.play("", bucket.status(503), bucket.drop_after(0))
    bucket.files[""] = b"a listing that breaks"
    assert len(listed(bucket, "train")) == 6


def test_words_are_those_between_whitespace(tmp_path):
    path = tmp_path / "1.txt"
    path.write_bytes("two\r\nwords\u00a0and \xfc\t".encode() + b"\xff\xfe three")
    assert count(path) == (1, len(path.read_bytes().decode("utf-8", "replace").split())) == (1, 6)
