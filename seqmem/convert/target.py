"""Where a conversion writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqmem.data.atomic import atomic_folder
from seqmem.errors import SeqmemError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """:func:`atomic_folder`, for a folder that does not exist or is empty."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise SeqmemError(f"'{path}' exists already; name a new folder with --out")
    with atomic_folder(path) as partial:
        yield partial
