"""Stores of sounds that are made once and found again."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from seqmem.data import cache
from seqmem.data.audio_store import AudioStore, is_store
from seqmem.errors import SeqmemError


def directory() -> Path:
    """Where stores are kept whose place nobody chose."""
    return cache.directory("sounds")


def made_once(folder: Path, sources: str, make: Callable[[Path], AudioStore]) -> AudioStore:
    """The store ``folder``: as it is if it was made of ``sources``, else made anew, by one process at a time.

    Args:
        make: makes the store, given a workplace beside it that is kept if the process is killed.

    Raises:
        SeqmemError: ``folder`` holds something that is no store.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not is_store(folder)):
        raise SeqmemError(f"'{folder}' is there and no store of sounds; name another folder")
    return cache.made_once(folder, directory(), lambda: _found(folder, sources), make)


def _found(folder: Path, sources: str) -> AudioStore | None:
    """A store made of these sources, unless it is damaged."""
    with suppress(SeqmemError):
        store = AudioStore.open(folder)
        return store if store.sources == sources else None
    return None
