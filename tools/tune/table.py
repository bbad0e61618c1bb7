"""A table of tuned tiles as a file: a line of JSON for each key, which is what tiles are tuned for."""

import json
from pathlib import Path
from typing import Any


def merge(path: Path, key: object, tiles: object) -> None:
    """Put tiles in the table, in place of what it had for the same key; the rest stays. Both are dataclasses."""
    fields = vars(key)

    def key_of(row: dict[str, Any]) -> list[Any]:
        return [row[name] for name in fields]

    rows = json.loads(path.read_text()) if path.exists() else []
    kept = [row for row in rows if key_of(row) != list(fields.values())]
    lines = [f"  {json.dumps(row)}" for row in sorted([*kept, fields | vars(tiles)], key=key_of)]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
