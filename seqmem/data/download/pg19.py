"""PG-19 (Rae et al. 2019), fetched whole, by split, and counted."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from filelock import FileLock, Timeout

from seqmem.data.download import bucket, hub
from seqmem.data.download.counts import Counts, refuse_other_books, refuse_other_words, total
from seqmem.data.download.fetch import partial_of
from seqmem.data.download.fetch_all import Progress, fetch_all
from seqmem.data.download.remote import RemoteFile
from seqmem.data.download.web import Web
from seqmem.errors import SeqmemError

SOURCES: dict[str, ModuleType] = {"bucket": bucket, "hub": hub}
LOCK = ".download.lock"


def download(
    folder: Path,
    splits: Sequence[str],
    source: str,
    base_url: str | None = None,
    num_workers: int = 16,
    progress: Progress = lambda done, total: None,
) -> dict[str, Counts]:
    """Books and words by split, once all of ``splits`` are in ``folder`` as the server lists them.

    What is there already and the same is kept, what differs is fetched again.

    Args:
        source: one of :data:`SOURCES`; ``base_url`` is by default its own.
        num_workers: files fetched at a time.

    Raises:
        SeqmemError: the server, the network or the folder fail; the books or words are not PG-19's; other files in
            the folders of the splits.
    """
    origin = SOURCES[source]
    base_url = base_url or origin.BASE_URL
    server = Web(base_url, num_workers)
    files = origin.find(server, base_url, splits)
    with _alone_in(folder):
        _refuse_strangers(folder, splits, files)
        _refuse_a_full_disk(folder, files)
        found = fetch_all(server, files, folder, origin.count, num_workers, progress)
    counts = {split: total(found[file.name] for file in files if file.split == split) for split in splits}
    for split, counted in counts.items():
        refuse_other_books(base_url, split, counted.books)
        if counted.words is not None:
            refuse_other_words(base_url, split, counted.words)
    return counts


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other downloads away."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        acquired = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise SeqmemError(f"another download writes to {folder}; wait for it, or name another folder") from None
    except OSError as error:
        raise SeqmemError(f"{folder} cannot be written ({error.strerror}); name another folder") from None
    with acquired:
        yield


def _refuse_strangers(folder: Path, splits: Sequence[str], files: Sequence[RemoteFile]) -> None:
    """Whoever reads the folder would take them for books of PG-19."""
    known = {file.name for file in files}
    for split in splits:
        names = [path.name for path in (folder / split).glob("*") if not path.name.startswith(".")]
        strangers = sorted(name for name in names if f"{split}/{name}" not in known)
        if strangers:
            raise SeqmemError(
                f"{folder / split} holds {len(strangers):,} files that are not of this copy of PG-19, "
                f"first {strangers[0]}; remove them or name another folder"
            )


def _refuse_a_full_disk(folder: Path, files: Sequence[RemoteFile]) -> None:
    here = [folder / file.name for file in files]
    there = sum(path.stat().st_size for whole in here for path in (whole, partial_of(whole)) if path.is_file())
    missing = sum(file.num_bytes for file in files) - there
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise SeqmemError(
            f"{folder} has {free / 1e9:,.1f} GB of free disk, and {missing / 1e9:,.1f} GB are to be fetched; "
            "make room or name another folder"
        )
