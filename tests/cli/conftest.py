"""The command line, called as a user's shell would."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from seqmem.cli import main


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def seqmem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """``seqmem("train", "pg19")`` runs that command in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["seqmem", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Finished(int(stop.value.code or 0), *capsys.readouterr())

    return run
