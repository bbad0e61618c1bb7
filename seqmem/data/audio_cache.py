"""Stores of sounds that are made once, by whichever process comes first, and found again."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from seqmem.data.audio_store import AudioStore, is_store
from seqmem.errors import SeqmemError


def directory() -> Path:
    """``seqmem/sounds`` in the user's cache: ``$XDG_CACHE_HOME``, else where the platform keeps such things."""
    usual = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "seqmem" / "sounds"


def made_once(folder: Path, sources: str, make: Callable[[Path], None]) -> AudioStore:
    """The store ``folder``: as it is if it was made of ``sources``, else made anew, by one process at a time.

    Args:
        make: makes the store, given a workplace beside it that is kept if the process is killed.

    Raises:
        SeqmemError: ``folder`` holds something that is no store.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not is_store(folder)):
        raise SeqmemError(f"'{folder}' is there and no store of sounds; name another folder")
    if store := _found(folder, sources):
        return store
    workplace = folder.with_name(f".{folder.name}.parts")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_of(folder)):
        if store := _found(folder, sources):
            return store
        workplace.mkdir(exist_ok=True)
        make(workplace)
        shutil.rmtree(workplace)
    return AudioStore.open(folder)


def _lock_of(folder: Path) -> Path:
    """In the user's cache, where it may stay: deleting a lock lets a second process in."""
    directory().mkdir(parents=True, exist_ok=True)
    return directory() / f".{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}.lock"


def _found(folder: Path, sources: str) -> AudioStore | None:
    """A store made of these sources, unless it is damaged."""
    with suppress(SeqmemError):
        store = AudioStore.open(folder)
        return store if store.sources == sources else None
    return None
