"""The table of tuned tiles as a file: a line of JSON for each instruction set, number type, width and window."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from seqmem.backends.tvm.tiles import Tiles


@dataclass(frozen=True, order=True)
class Key:
    """What tiles are tuned for: keys and values ``width`` wide, a causal window of ``window`` tokens."""

    isa: str
    dtype: str
    width: int
    window: int


def merge(path: Path, tuned: dict[Key, Tiles]) -> None:
    """Put tiles in the table, in place of what it had for the same keys; the rest stays."""
    entries = json.loads(path.read_text()) if path.exists() else []
    rows = {Key(*(entry[name] for name in ("isa", "dtype", "width", "window"))): entry for entry in entries}
    rows |= {key: asdict(key) | asdict(tiles) for key, tiles in tuned.items()}
    path.write_text(_lines([rows[key] for key in sorted(rows)]))


def _lines(entries: Sequence[dict[str, object]]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in entries) + "\n]\n"
