"""A file that a server lists, and whether one here is the same."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checksum:
    """``algorithm`` is one of ``hashlib``'s; ``digest`` is hexadecimal."""

    algorithm: str
    digest: str


@dataclass(frozen=True)
class RemoteFile:
    """A file there.

    Attributes:
        name: its place below the folder it is fetched into, with slashes.
        checksum: of the whole file, None where the server lists none.
    """

    url: str
    name: str
    num_bytes: int
    checksum: Checksum | None

    @property
    def split(self) -> str:
        """The first folder of its name."""
        return self.name.partition("/")[0]

    def fault_of(self, path: Path) -> str | None:
        """What tells ``path`` apart from this file, None if nothing does."""
        if (size := path.stat().st_size) != self.num_bytes:
            return f"has {size:,} bytes, not {self.num_bytes:,} as listed"
        if not self.checksum:
            return None
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, self.checksum.algorithm).hexdigest()
        if digest != self.checksum.digest:
            return f"has the {self.checksum.algorithm} {digest}, not {self.checksum.digest} as listed"
        return None
