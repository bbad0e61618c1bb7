"""Files of lines, compressed or not."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from seqmem.data.sources.files import File
from seqmem.errors import SeqmemError


@contextmanager
def unpacked(file: File) -> Iterator[BinaryIO]:
    """What the file holds, unpacked if its name ends in ``.gz`` or ``.zst``.

    Raises:
        SeqmemError: it cannot be read or, now or later in the block, unpacked.
    """
    with file.open() as packed:
        name = file.name.lower()
        if name.endswith(".gz"):
            with _unpacking(file, EOFError, zlib.error, gzip.BadGzipFile), gzip.open(packed) as stream:
                yield cast(BinaryIO, stream)
        elif name.endswith(".zst"):
            zstandard = _zstandard(file)
            with _unpacking(file, zstandard.ZstdError):
                raw = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
                yield cast(BinaryIO, io.BufferedReader(raw))
        else:
            yield packed


@contextmanager
def _unpacking(file: File, *errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise SeqmemError(f"{file.location} cannot be unpacked ({error}); fetch it again") from None


def _zstandard(file: File):
    try:
        import zstandard
    except ImportError:
        raise SeqmemError(
            f"{file.location}: the package zstandard, which unpacks it, is missing; pip install 'seqmem[data]'"
        ) from None
    return zstandard
