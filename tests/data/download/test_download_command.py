"""``seqmem data download pg19``: what it says, and what is left when it is stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from seqmem.cli import cli
from seqmem.data.download import counts
from seqmem.data.download.fetch import partial_of
from seqmem.data.download.pg19 import download

COMMAND = """
import signal, sys
from seqmem.cli import main
from seqmem.data.download import counts
signal.signal(signal.SIGINT, signal.default_int_handler)
counts.BOOKS["test"], counts.WORDS["test"] = 3, 41_078
sys.argv = ["seqmem", "data", "download", "pg19", *sys.argv[1:]]
main()
"""


@pytest.fixture
def stalled(bucket, tmp_path: Path):
    """The command, after it has fetched two books and some of the third."""
    bucket.play("test/2.txt", bucket.stall_after(100_000))
    arguments = ("--split", "test", "--out", tmp_path / "out", "--base-url", bucket.base_url, "--workers", "1")
    partial = partial_of(tmp_path / "out" / "test" / "2.txt")
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (partial.exists() and partial.stat().st_size > 50_000):
            time.sleep(0.01)
        yield process
        process.kill()


def goes_on(bucket, out: Path) -> bool:
    """Whether the next download asks for what is missing alone, and gets it."""
    assert not (out / "test" / "2.txt").exists()
    left = partial_of(out / "test" / "2.txt").stat().st_size
    bucket.requests.clear()
    download(out, ["test"], "bucket", bucket.base_url)
    assert [request for request in bucket.requests if "test/" in request[0]] == [("test/2.txt", f"bytes={left}-")]
    found = {path.name: path.read_bytes() for path in (out / "test").iterdir()}
    return found == {name.partition("/")[2]: content for name, content in bucket.files.items() if "test/" in name}


def test_after_kill_9_the_next_goes_on(bucket, stalled, tmp_path):
    os.kill(stalled.pid, signal.SIGKILL)
    assert stalled.wait() == -signal.SIGKILL
    assert goes_on(bucket, tmp_path / "out")


def test_after_ctrl_c_the_next_goes_on(bucket, stalled, tmp_path):
    stalled.send_signal(signal.SIGINT)
    out, err = stalled.communicate()  # although the server still owes an answer
    assert (out, err.strip()) == ("", "Aborted!")
    assert stalled.returncode == 1
    assert goes_on(bucket, tmp_path / "out")


def test_it_prints_what_there_is_and_what_to_do_next(bucket, tmp_path, monkeypatch):
    monkeypatch.setitem(counts.WORDS, "train", 5530)
    out = tmp_path / "out"
    finished = CliRunner().invoke(
        cli, ["data", "download", "pg19", "--out", str(out), "--base-url", bucket.base_url], catch_exceptions=False
    )
    assert finished.output == (
        "train            5 books          5,533 words, +3 of what is published\n"
        "validation       1 books            500 words, as published\n"
        "test             3 books         41,078 words, as published\n"
        f"\nNext: seqmem train recipes/pg19 --data {out}\n"
    )


def test_splits_may_be_named_one_by_one(bucket, tmp_path):
    arguments = ["--split", "test", "--split", "validation", "--out", str(tmp_path), "--base-url", bucket.base_url]
    finished = CliRunner().invoke(cli, ["data", "download", "pg19", *arguments], catch_exceptions=False)
    assert [line.split()[0] for line in finished.output.splitlines()[:2]] == ["validation", "test"]
    assert not (tmp_path / "train").exists()
