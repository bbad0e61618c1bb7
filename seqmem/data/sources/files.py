"""Files here and elsewhere: found, told apart from their later versions, and read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from seqmem.config import Location, is_url
from seqmem.errors import SeqmemError

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class File:
    """A file that is there.

    Attributes:
        name: its place below the folder that was searched.
        version: changes whenever the content does: the time of the last change, or what a server calls its version.
    """

    location: Location
    name: str
    num_bytes: int
    version: str

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file's bytes.

        Raises:
            SeqmemError: it cannot be read, now or later in the block.
        """
        with reading(self.location):
            if isinstance(self.location, Path):
                with self.location.open("rb") as file:
                    yield file
            else:
                import fsspec

                with fsspec.open(self.location, "rb") as remote:
                    yield cast(BinaryIO, remote)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes ``start`` to ``end``, in blocks."""
        left = (self.num_bytes if end is None else end) - start
        with self.open() as file:
            file.seek(start)
            while left > 0:
                block = file.read(min(left, BLOCK_BYTES))
                if not block:
                    raise SeqmemError(
                        f"{self.location} has become shorter, or its reading broke off, {left:,} bytes before its end; "
                        "try again"
                    )
                left -= len(block)
                yield block


@contextmanager
def reading(place: Location) -> Iterator[None]:
    """Have what goes wrong with a file be said as every error is.

    Raises:
        SeqmemError: whatever the block raised, if ``place`` is a URL; otherwise an OSError.
    """
    expected: type[Exception] = Exception if is_url(place) else OSError
    try:
        yield
    except SeqmemError:
        raise
    except expected as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        fix = f"; {FIXES[type(error)]}" if type(error) in FIXES else ""
        raise SeqmemError(f"{place} cannot be read ({' '.join(reason.split())}){fix}") from None


FIXES: dict[type[BaseException], str] = {
    FileNotFoundError: "name a folder of texts, or a file",
    PermissionError: "change its permissions or run as its owner",
    ImportError: "install what the reason names, or fetch the files and name their folder",
}


def find(place: Location) -> list[File]:
    """The files of a folder and of the folders in it, sorted by name, or the one file that ``place`` is.

    Raises:
        SeqmemError: nothing is there, or it cannot be read.
    """
    with reading(place):
        return _find_here(place) if isinstance(place, Path) else _find_elsewhere(place)


def is_folder(place: Location) -> bool:
    """Whether a folder is there; False where nothing is."""
    if isinstance(place, Path):
        with reading(place):
            return place.is_dir()
    import fsspec

    with reading(place):
        system, path = fsspec.core.url_to_fs(place)
        return bool(system.isdir(path))


def below(folder: Location, name: str) -> Location:
    """``name`` inside a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"


def _find_here(place: Path) -> list[File]:
    if not place.is_dir():
        return [_file_here(place, place.parent)]
    return [_file_here(path, place) for path in sorted(_walk(place, set()))]


def _walk(folder: Path, entered: set[Path]) -> Iterator[Path]:
    """The files below ``folder`` that are not hidden; a folder that links lead to again is entered once."""
    entered.add(folder.resolve())
    with reading(folder):
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for path in paths:
        with reading(path):
            is_folder = path.is_dir()
            is_entered = is_folder and path.resolve() in entered
        if not is_folder:
            yield path
        elif not is_entered:
            yield from _walk(path, entered)


def _file_here(path: Path, folder: Path) -> File:
    with reading(path):
        found = path.stat()
        if not path.is_file():
            raise SeqmemError(f"{path} is neither a file nor a folder; remove it or name another")
        return File(path, path.relative_to(folder).as_posix(), found.st_size, f"{found.st_size} {found.st_mtime_ns}")


def _find_elsewhere(url: str) -> list[File]:
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    about = system.info(path)
    if about["type"] != "directory":
        return [_file_elsewhere(url, about["name"].rsplit("/", 1)[-1], about)]
    files = [entry for entry in system.find(path, detail=True).values() if entry["type"] == "file"]
    named = [(entry["name"].removeprefix(path).strip("/"), entry) for entry in files]
    return [
        _file_elsewhere(system.unstrip_protocol(entry["name"]), name, entry)
        for name, entry in sorted(named, key=lambda pair: pair[0])
        if not any(part.startswith(".") for part in name.split("/"))
    ]


def _file_elsewhere(url: str, name: str, about: dict[str, Any]) -> File:
    if about.get("size") is None:
        raise SeqmemError(f"{url}: the server does not say how large it is; fetch it and name the file here")
    version = next((str(about[key]) for key in ("ETag", "etag", "mtime", "last_modified") if about.get(key)), "")
    return File(url, name, about["size"], f"{about['size']} {version}")
