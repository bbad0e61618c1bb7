"""One file fetched: whole and verified under its name, or not under its name at all."""

import os
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from seqmem.data.atomic import PARTIAL
from seqmem.data.download import web
from seqmem.data.download.remote import RemoteFile
from seqmem.data.download.web import Web, reason_of
from seqmem.errors import SeqmemError

BLOCK_BYTES = 1 << 16
ENOUGH_BYTES = 1 << 20
"""A request that brought so much before it broke has not failed."""

FIX = "try again later or name another base URL"


def fetch(server: Web, file: RemoteFile, folder: Path, advance: Callable[[int], None]) -> Path:
    """Make sure that a file is in ``folder`` as its server lists it, and say where.

    What an interrupted call has left beside it is used, if a checksum is listed to tell whether the whole is right.

    Args:
        advance: told how many bytes more, or fewer, there are than when it was told last.

    Raises:
        SeqmemError: the server does not send the file that it lists.
        OSError: the file cannot be written.
    """
    path = folder / file.name
    if path.exists() and not file.fault_of(path):
        advance(file.num_bytes)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    for _ in range(2):  # the first may have begun with what is left of another version
        with partial.open("ab") as out:
            _complete(server, file, out, advance)
        fault = file.fault_of(partial)
        if not fault:
            partial.replace(path)
            return path
        partial.unlink()
        advance(-file.num_bytes)
    raise SeqmemError(f"{file.url} {fault}; {FIX}")


def partial_of(path: Path) -> Path:
    """The name of a file that is not whole yet."""
    return path.with_name(f".{path.name}{PARTIAL}")


def _complete(server: Web, file: RemoteFile, out: BinaryIO, advance: Callable[[int], None]) -> None:
    """Append what is missing, with as many requests as that takes, and put all of it on disk."""
    if not file.checksum or out.tell() > file.num_bytes:
        _empty(out)
    advance(out.tell())
    failed = 0
    while (start := out.tell()) < file.num_bytes:
        reason = "the connection ended early; try again later"
        try:
            with server.open(file.url, start) as response:
                _append(response, file, out, advance)
        except HTTPError as error:
            reason = reason_of(error)
        if out.tell() == file.num_bytes:
            break
        failed = 0 if out.tell() - start >= ENOUGH_BYTES else failed + 1
        if failed == web.TRIES:
            raise SeqmemError(f"{file.url}: {out.tell():,} of {file.num_bytes:,} bytes came; {reason}")
        time.sleep(web.BACKOFF_SECONDS * failed**2)
    out.flush()
    os.fsync(out.fileno())


def _append(response: BaseHTTPResponse, file: RemoteFile, out: BinaryIO, advance: Callable[[int], None]) -> None:
    start, size = _extent(response)
    if size not in (None, file.num_bytes):
        raise SeqmemError(f"{file.url} is sent with {size:,} bytes, not {file.num_bytes:,} as listed; {FIX}")
    if start not in (0, out.tell()):
        raise SeqmemError(f"{file.url} is not sent from byte {out.tell():,} on, as asked for; {FIX}")
    if start < out.tell():
        advance(-out.tell())
        _empty(out)
    while block := response.read1(BLOCK_BYTES):
        if out.tell() + len(block) > file.num_bytes:
            raise SeqmemError(f"{file.url} is sent with more than the {file.num_bytes:,} bytes listed; {FIX}")
        advance(len(block))
        out.write(block)


def _extent(response: BaseHTTPResponse) -> tuple[int, int | None]:
    """The byte that a response begins with, and the size of the whole file where it says so; -1 where it is unclear."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        extent = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return (int(extent[1]), int(extent[2])) if extent else (-1, None)
    size = response.headers.get("Content-Length", "")
    return 0, int(size) if size.isdecimal() else None


def _empty(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()
