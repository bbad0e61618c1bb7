"""One file, from a server that drops connections, lies and fails."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqmem.data.download.bucket import find
from seqmem.data.download.fetch import fetch, partial_of
from seqmem.data.download.remote import RemoteFile
from seqmem.data.download.web import TRIES, Web
from seqmem.errors import SeqmemError

NAME = "test/2.txt"


@pytest.fixture
def get(bucket, tmp_path: Path):
    """Fetch one file of the bucket as it is listed now; the bytes that were told to be there are in ``get.told``."""

    def get(folder: Path = tmp_path) -> bytes:
        server = Web(bucket.base_url, 1)
        (file,) = (file for file in find(server, bucket.base_url, ["test"]) if file.name == NAME)
        bucket.requests.clear()
        get.told = []
        return fetch(server, file, folder, get.told.append).read_bytes()

    return get


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "test").iterdir())


def test_a_file_comes_whole_and_nothing_else_is_left(bucket, get, tmp_path):
    assert get() == bucket.files[NAME]
    assert left_behind(tmp_path) == ["2.txt"]
    assert sum(get.told) == len(bucket.files[NAME])


def test_a_file_that_is_there_is_not_fetched_again(bucket, get):
    get()
    assert get() == bucket.files[NAME]
    assert bucket.requests == []
    assert sum(get.told) == len(bucket.files[NAME])


@pytest.mark.parametrize("damaged", [b"", b"short", None])
def test_a_file_that_differs_is_replaced(bucket, get, tmp_path, damaged):
    get()
    content = bucket.files[NAME]
    (tmp_path / NAME).write_bytes(b"x" + content[1:] if damaged is None else damaged)
    assert get() == content
    assert bucket.requests == [(NAME, None)]


def test_a_broken_connection_is_gone_on_with(bucket, get):
    bucket.play(NAME, bucket.drop_after(100_000), bucket.drop_after(0), bucket.drop_after(30_000))
    assert get() == bucket.files[NAME]
    assert [extent for _, extent in bucket.requests] == [None, "bytes=100000-", "bytes=100000-", "bytes=130000-"]
    assert sum(get.told) == len(bucket.files[NAME])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    left=st.integers(0, 400_000),
    of_this_version=st.booleans(),
    has_md5=st.booleans(),
    faults=st.lists(
        st.one_of(
            st.tuples(st.just("drop_after"), st.integers(0, 400_000)),
            st.tuples(st.just("status"), st.sampled_from([429, 500, 503])),
            st.tuples(st.just("send"), st.none()),
        ),
        max_size=TRIES - 1,
    ),
)
def test_whatever_breaks_and_was_left_the_file_is_the_same(
    bucket, get, tmp_path_factory, left, of_this_version, has_md5, faults
):
    folder = tmp_path_factory.mktemp("fetched")
    content = bucket.files[NAME]
    partial = partial_of(folder / NAME)
    partial.parent.mkdir()
    partial.write_bytes(content[:left] if of_this_version else b"\x00" * left)
    bucket.has_md5 = has_md5
    bucket.play(NAME, *(getattr(bucket, kind)(value) for kind, value in faults))
    assert get(folder) == content
    assert left_behind(folder) == ["2.txt"]
    assert sum(get.told) == len(content)


def test_without_a_checksum_nothing_old_is_used(bucket, get, tmp_path):
    bucket.has_md5 = False
    partial = partial_of(tmp_path / NAME)
    partial.parent.mkdir()
    partial.write_bytes(b"another version")
    assert get() == bucket.files[NAME]
    assert bucket.requests == [(NAME, None)]


def test_an_empty_file_is_not_asked_for(bucket, get):
    bucket.files[NAME] = b""
    assert get() == b""
    assert bucket.requests == []


@pytest.mark.parametrize(
    ("trick", "reason", "requests"),
    [
        (("status", 404), "is not there (HTTP 404); try again later or name another base URL", 1),
        (("status", 403), "may not be read (HTTP 403); ", 1),
        (("status", 599), "cannot be had now (HTTP 599); ", 1),
        (("status", 503), "cannot be had now (HTTP 503); ", TRIES + 1),
        (("drop_after", 0), ": 0 of 268,890 bytes came; ", TRIES),
        (("drop_after", -268_830), ": 60 of 268,890 bytes came; ", TRIES),
        (("send", b"<html>log in</html>"), " is sent with 19 bytes, not 268,890 as listed; ", 1),
        (("send_open_ended", b"x" * 400_000), " is sent with more than the 268,890 bytes listed; ", 1),
        (("send_open_ended", b"short"), ": 5 of 268,890 bytes came; the connection ended early; ", TRIES),
        (("send", b"x" * 268_890), " has the md5 ", 2),
    ],
)
def test_what_never_gets_better_is_an_error_that_names_the_url(bucket, get, tmp_path, trick, reason, requests):
    assert len(bucket.files[NAME]) == 268_890
    bucket.always(NAME, getattr(bucket, trick[0])(*trick[1:]))
    with pytest.raises(SeqmemError) as error:
        get()
    assert f"{bucket.base_url}/{NAME}{'' if reason[0] in ': ' else ' '}{reason}" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(bucket.requests) == requests
    assert not (tmp_path / NAME).exists()
    bucket.tricks.clear()
    assert get() == bucket.files[NAME]


def test_an_endless_redirect_is_an_error(bucket, get):
    bucket.always(NAME, bucket.status(302, Location=f"/pg19/{NAME}"))
    with pytest.raises(SeqmemError, match=r"2\.txt redirects without end \(HTTP 302\); "):
        get()
    assert len(bucket.requests) < 10


def test_a_redirect_keeps_the_range(bucket, get):
    bucket.play(NAME, bucket.drop_after(1000), bucket.status(302, Location=f"/pg19/{NAME}"))
    assert get() == bucket.files[NAME]
    assert bucket.requests[-1] == (NAME, "bytes=1000-")


@pytest.mark.parametrize("extent", ["bytes 5-268889/268890", "bytes */268890", "", "bytes 1000-268889/7"])
def test_another_range_than_asked_for_is_not_appended(bucket, get, extent):
    content = bucket.files[NAME]
    bucket.play(NAME, bucket.drop_after(1000), bucket.status(206, content[5:], **{"Content-Range": extent}))
    with pytest.raises(SeqmemError, match=r"2\.txt is (not sent from byte 1,000 on|sent with 7 bytes)"):
        get()
    assert get() == content


def test_one_connection_serves_many_requests(bucket, tmp_path):
    server = Web(bucket.base_url, 1)
    files = find(server, bucket.base_url, ["train", "test"])
    for file in files:
        fetch(server, file, tmp_path, lambda num_bytes: None)
    assert len(bucket.requests) > len(files)
    assert bucket.connections == 1


def test_a_full_disk_is_an_error_and_what_came_stays(bucket, get, tmp_path, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            get()
    assert left_behind(tmp_path) == [".2.txt.partial"]
    assert get() == bucket.files[NAME]
    assert bucket.requests == []


@pytest.mark.parametrize("url", ["", "pg19", "ftp://host/pg19", "http://", "http://[/", "file:///pg19"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SeqmemError, match=f"base URL '{re.escape(url)}' is no address; one begins with https://"):
        Web(url, 1)


def test_a_proxy_that_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv("https_proxy", "proxy:3128")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SeqmemError, match="proxy 'proxy:3128' is no address"):
        Web("https://host/pg19", 1)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("nowhere.invalid", "its host cannot be found"), ("127.0.0.1:9", "its host refuses connections")],
)
def test_an_unreachable_host_is_an_error(bucket, tmp_path, host, reason):
    url = f"http://{host}/1.txt"
    with pytest.raises(SeqmemError, match=f"{url}: {reason}; check the network and the base URL"):
        fetch(Web(url, 1), RemoteFile(url, "1.txt", 5, None), tmp_path, lambda num_bytes: None)


def test_the_proxy_of_the_environment_is_used(bucket, tmp_path, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", bucket.base_url.removesuffix("/pg19"))
    url = "http://books.invalid/pg19"
    (file, *_) = find(Web(url, 1), url, ["test"])
    assert fetch(Web(url, 1), file, tmp_path, lambda num_bytes: None).read_bytes() == bucket.files[file.name]
