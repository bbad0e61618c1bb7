"""What is made of the user's data once, by whichever process comes first, and found again."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

T = TypeVar("T")


def directory(kind: str) -> Path:
    """The folder for data of one kind.

    It is in ``$SEQMEM_DATA_CACHE``, else in ``seqmem`` in the user's cache: ``$XDG_CACHE_HOME``, else where the
    platform keeps such things.
    """
    if own := os.environ.get("SEQMEM_DATA_CACHE"):
        return Path(own) / kind
    usual = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "seqmem" / kind


def made_once(folder: Path, locks: Path, found: Callable[[], T | None], make: Callable[[Path], T]) -> T:
    """What ``found`` gives, else what ``make`` does, by one process at a time.

    Args:
        folder: where it is made.
        locks: a folder for locks, which may stay there: deleting a lock lets a second process in.
        make: is given a workplace beside ``folder``, which is kept if the process is killed.
    """
    if (there := found()) is not None:
        return there
    workplace = folder.with_name(f".{folder.name}.parts")
    folder.parent.mkdir(parents=True, exist_ok=True)
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f".{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}.lock"):
        if (there := found()) is not None:
            return there
        workplace.mkdir(exist_ok=True)
        made = make(workplace)
        shutil.rmtree(workplace, ignore_errors=True)
        return made
