"""Where compiled kernels live: one file each in the user's cache, compiled once by whichever process comes first.

A file's name ends in the checksum of its content, and the file appears by renaming: what is found is whole or is known
not to be. Where nothing can be written, a private folder takes the cache's place until the process ends.
"""

import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock

from filelock import FileLock

from seqmem.errors import SeqmemError

log = logging.getLogger("seqmem")

LOCK_SECONDS = 120
_one_at_a_time = Lock()
"""Another process that compiles for longer counts as hung: both compile then, to the same end."""


def directory() -> Path:
    """``seqmem/kernels`` in the user's cache: ``$XDG_CACHE_HOME``, else where the platform keeps such things."""
    usual = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "seqmem" / "kernels"


def checksum(*parts: str | bytes) -> str:
    """32 hexadecimal digits for a sequence of texts; they tell where one text ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def fetch(name: str, build: Callable[[], bytes]) -> Path:
    """The compiled file ``name``; built if the cache has no whole one.

    Processes that want the same file at the same time wait for the one that builds it; if that one is killed, the next
    takes its place.

    Args:
        name: says, with a :func:`checksum`, all that the content depends on; has a suffix, such as ``.so``.
        build: gives the content. Its errors propagate.
    """
    folder = directory()
    if found := _find(folder, name):
        return found
    with _alone(folder, name):
        if found := _find(folder, name):
            return found
        content = build()
        try:
            return _store(folder, name, content)
        except OSError as error:
            log.warning("compiled kernels are not kept: cannot write to %s (%s)", folder, error.strerror)
            return _store(Path(_private_folder().name), name, content)


def clear() -> list[str]:
    """Remove the cache's folder; returns the names of the kernels that were in it.

    Raises:
        SeqmemError: something in it cannot be removed.
    """
    folder = directory()
    kernels = sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise SeqmemError(
            f"cannot clear {folder}: {error.strerror} ({error.filename}); mend its permissions"
        ) from error
    return kernels


def _find(folder: Path, name: str) -> Path | None:
    stem, suffix = os.path.splitext(name)
    for path in folder.glob(f"{stem}-*{suffix}"):
        with suppress(OSError):
            if path.stem == f"{stem}-{checksum(path.read_bytes())}":
                return path
            path.unlink()
    return None


def _store(folder: Path, name: str, content: bytes) -> Path:
    stem, suffix = os.path.splitext(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(".partial", stem, folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        return Path(partial).replace(folder / f"{stem}-{checksum(content)}{suffix}")
    except BaseException:
        os.unlink(partial)
        raise


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock on a name. The system frees a dead holder's lock; where there are no locks, go on without one."""
    lock = FileLock(folder / f"{name}.lock", timeout=LOCK_SECONDS)
    with suppress(OSError, NotImplementedError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    with _one_at_a_time:
        return _made_folder()


@cache
def _made_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="seqmem-kernels-")
