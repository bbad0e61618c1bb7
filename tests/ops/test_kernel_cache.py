"""The cache of compiled files: built once whoever asks, whole or not at all, and never a reason to stop."""

import logging
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from seqmem.errors import SeqmemError
from seqmem.ops import cache

NAME = "kernel-0123.so"
forked = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def no_build() -> bytes:
    raise AssertionError("built again")


def test_what_was_built_is_found():
    path = cache.fetch(NAME, lambda: b"machine code")
    assert path.read_bytes() == b"machine code"
    assert path.suffix == ".so"
    assert cache.fetch(NAME, no_build) == path
    assert cache.fetch("kernel-4567.so", lambda: b"other code").read_bytes() == b"other code"


@pytest.mark.parametrize("damage", [b"", b"machine", b"machine_code", b"machine code and more"])
def test_a_damaged_file_is_built_again(damage: bytes):
    cache.fetch(NAME, lambda: b"machine code").write_bytes(damage)
    assert cache.fetch(NAME, lambda: b"machine code").read_bytes() == b"machine code"
    assert cache.fetch(NAME, no_build).read_bytes() == b"machine code"


def test_processes_at_once_build_once(tmp_path: Path):
    barrier = forked.Barrier(3)

    def build() -> bytes:
        (tmp_path / "building").touch(exist_ok=False)
        (tmp_path / "slow").read_bytes()
        return b"machine code"

    def ask() -> None:
        barrier.wait()
        assert cache.fetch(NAME, build).read_bytes() == b"machine code"

    os.mkfifo(tmp_path / "slow")
    processes = [forked.Process(target=ask) for _ in range(2)]
    for process in processes:
        process.start()
    barrier.wait()
    (tmp_path / "slow").write_bytes(b"done")
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_killed_build_holds_nobody_up():
    started = forked.Event()

    def build() -> bytes:
        started.set()
        signal.pause()
        return b"never"

    process = forked.Process(target=cache.fetch, args=(NAME, build))
    process.start()
    started.wait()
    lock = FileLock(cache.directory() / f"{NAME}.lock")
    assert not can_be_taken(lock)
    process.kill()
    process.join()
    assert can_be_taken(lock)
    assert cache.fetch(NAME, lambda: b"machine code").read_bytes() == b"machine code"


def can_be_taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return False
    lock.release()
    return True


def test_a_hung_build_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0)
    cache.directory().mkdir(parents=True)
    with FileLock(cache.directory() / f"{NAME}.lock"):
        assert cache.fetch(NAME, lambda: b"machine code").read_bytes() == b"machine code"


def test_a_file_system_without_locks_will_do(monkeypatch: pytest.MonkeyPatch):
    def acquire(self):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    path = cache.fetch(NAME, lambda: b"machine code")
    assert path.parent == cache.directory()
    assert path.read_bytes() == b"machine code"


def test_where_nothing_can_be_written_a_private_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "seqmem"):
        path = cache.fetch(NAME, lambda: b"machine code")
    assert path.read_bytes() == b"machine code"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert str(cache.directory()) in caplog.text


def test_a_failed_build_leaves_nothing():
    def fail() -> bytes:
        raise SeqmemError("does not compile")

    with pytest.raises(SeqmemError, match="does not compile"):
        cache.fetch(NAME, fail)
    assert cache.clear() == []
    assert cache.fetch(NAME, lambda: b"machine code").read_bytes() == b"machine code"


def test_clear_removes_all_and_says_what():
    path = cache.fetch(NAME, lambda: b"machine code")
    assert cache.clear() == [path.name]
    assert not cache.directory().exists()
    assert cache.clear() == []


def test_checksum_tells_where_parts_end():
    assert cache.checksum("ab", "c") != cache.checksum("a", "bc")
    assert cache.checksum("ab", b"c") == cache.checksum("ab", "c")
