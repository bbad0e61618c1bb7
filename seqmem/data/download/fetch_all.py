"""Many files fetched at once."""

from collections.abc import Callable, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Event
from typing import TypeVar

from seqmem.data.download.fetch import fetch
from seqmem.data.download.remote import RemoteFile
from seqmem.data.download.web import Web
from seqmem.errors import SeqmemError

R = TypeVar("R")
Progress = Callable[[int, int], None]
"""Told, by any thread, how many bytes more there are than when it was told last, and how many there will be."""

HOPELESS = 25
"""Files that fail one after the other: the server or the network has."""


class Stopped(Exception):
    """Another thread has ended the download."""


def fetch_all(
    server: Web,
    files: Sequence[RemoteFile],
    folder: Path,
    look: Callable[[Path], R],
    num_workers: int,
    progress: Progress,
) -> dict[str, R]:
    """What ``look`` finds in each file, by name, once all are in ``folder``; a file that fails stops no other.

    Raises:
        SeqmemError: files failed, or the folder cannot be written.
    """
    total = sum(file.num_bytes for file in files)
    is_over = Event()

    def advance(num_bytes: int) -> None:
        if is_over.is_set():
            raise Stopped
        progress(num_bytes, total)

    def work(file: RemoteFile) -> tuple[str, R | SeqmemError]:
        try:
            return file.name, look(fetch(server, file, folder, advance))
        except SeqmemError as error:
            return file.name, error

    found: dict[str, R] = {}
    failed: dict[str, SeqmemError] = {}
    in_a_row = 0
    with ThreadPool(num_workers) as pool:
        try:
            for name, result in pool.imap_unordered(work, files):
                if isinstance(result, SeqmemError):
                    failed[name] = result
                    in_a_row += 1
                    if in_a_row == HOPELESS:
                        break
                else:
                    found[name] = result
                    in_a_row = 0
        except OSError as error:
            raise SeqmemError(
                f"{error.filename2 or error.filename or folder} cannot be written ({error.strerror}); "
                "make room or change its permissions, or name another folder; what was fetched is used again"
            ) from None
        finally:
            is_over.set()
    if failed:
        raise SeqmemError(_summary(failed, len(found), len(files)))
    return found


def _summary(failed: dict[str, SeqmemError], num_found: int, num_files: int) -> str:
    names = ", ".join([*failed][:3]) + (", ..." if len(failed) > 3 else "")
    is_given_up = len(failed) + num_found < num_files
    end = f", {HOPELESS} in a row, and the rest was not tried" if is_given_up else ""
    first = next(iter(failed.values()))
    return (
        f"{len(failed):,} of {num_files:,} files failed ({names}){end}; "
        f"{num_found:,} are whole, and the same command goes on; the first that failed: {first}"
    )
