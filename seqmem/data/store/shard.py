"""A shard: tokens that follow one another, where documents begin among them, and what is known of their text.

Three files share a name: ``.tokens``, the ids in little-endian order; ``.starts``, int64, the places among them of what
begins each document; ``.names``, the documents' names, a line each. ``.json`` comes last and vouches for them.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from seqmem.data.atomic import atomic_file
from seqmem.data.store.encode import Encoded

FILES = (".tokens", ".starts", ".names")


@dataclass(frozen=True)
class Shard:
    """What a shard holds.

    Attributes:
        name: of its files, without their endings.
        num_tokens, num_documents, num_bytes, num_words, num_invalid: of what documents it begins and what text it has;
            ``num_invalid`` of the bytes are not UTF-8.
        in_word: whether the text ends inside a word.
        digest: of all text of the split up to the shard's end.
        ends_at: the split's source that the next shard goes on with, and how many pieces of it have been read.
        sizes, times, checksums: of the three files: bytes, nanoseconds of the last change, CRC-32.
    """

    name: str
    num_tokens: int
    num_documents: int
    num_bytes: int
    num_words: int
    num_invalid: int
    in_word: bool
    digest: str
    ends_at: tuple[int, int]
    sizes: tuple[int, ...]
    times: tuple[int, ...]
    checksums: tuple[int, ...]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**known)

    def problem(self, folder: Path) -> str | None:
        """The name of a file that is not what was written; its content is read if it was touched since."""
        for ending, size, time, checksum in zip(FILES, self.sizes, self.times, self.checksums, strict=True):
            path = folder / f"{self.name}{ending}"
            try:
                found = path.stat()
                if found.st_size != size or (found.st_mtime_ns != time and _checksum(path) != checksum):
                    return path.name
            except OSError:
                return path.name
        return None


class ShardWriter:
    """Writes a shard, a piece of text at a time.

    Args:
        before: the shard that this one goes on from.
    """

    def __init__(self, folder: Path, name: str, before: Shard | None):
        self.num_tokens = 0
        self._path = folder / name
        self._files = {ending: self._path.with_suffix(ending).open("wb") for ending in FILES}
        self._counts = {"num_documents": 0, "num_bytes": 0, "num_words": 0, "num_invalid": 0}
        self._in_word = before.in_word if before else False
        self._digest = before.digest if before else ""
        self._is_finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for ending, file in self._files.items():
            file.close()
            if not self._is_finished:
                self._path.with_suffix(ending).unlink()

    def add(self, piece: Encoded, bos: Sequence[int]) -> None:
        """Write a piece, after ``bos`` if it begins a document."""
        if piece.begins is not None:
            self._files[".starts"].write(np.array([self.num_tokens], "<i8").tobytes())
            self._files[".names"].write(" ".join(piece.begins.split()).encode("utf-8", "replace") + b"\n")
            self._write(np.array(bos, piece.ids.dtype))
            self._counts["num_documents"] += 1
            self._in_word = False
        self._write(piece.ids)
        self._counts["num_bytes"] += piece.num_bytes
        self._counts["num_words"] += piece.num_words - (self._in_word and piece.starts_in_word)
        self._counts["num_invalid"] += piece.num_invalid
        if piece.num_bytes:
            self._in_word = piece.ends_in_word
        chain = f"{self._digest} {piece.begins is not None} {piece.digest}"
        self._digest = hashlib.sha256(chain.encode()).hexdigest()

    def _write(self, ids: np.ndarray) -> None:
        self._files[".tokens"].write(ids.astype(ids.dtype.newbyteorder("<"), copy=False).tobytes())
        self.num_tokens += len(ids)

    def finish(self, ends_at: tuple[int, int]) -> Shard:
        """Have all of it on disk."""
        paths = [self._path.with_suffix(ending) for ending in FILES]
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        found = [path.stat() for path in paths]
        shard = Shard(
            name=self._path.name,
            num_tokens=self.num_tokens,
            in_word=self._in_word,
            digest=self._digest,
            ends_at=ends_at,
            sizes=tuple(file.st_size for file in found),
            times=tuple(file.st_mtime_ns for file in found),
            checksums=tuple(map(_checksum, paths)),
            **self._counts,
        )
        with atomic_file(self._path.with_suffix(".json")) as about:
            about.write(json.dumps(asdict(shard)).encode())
        self._is_finished = True
        return shard


def finished_shards(folder: Path, split: str) -> list[Shard]:
    """The shards of a split that are whole, up to the first that is not."""
    shards: list[Shard] = []
    while (about := folder / f"{shard_name(split, len(shards))}.json").is_file():
        shard = Shard.from_json(json.loads(about.read_text()))
        if shard.problem(folder):
            break
        shards.append(shard)
    return shards


def shard_name(split: str, number: int) -> str:
    """Of the ``number``-th shard of a split."""
    return f"{split}-{number:05d}"


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
