"""Going on after a failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attempt(found: dict[str, Any], name: str) -> Iterator[None]:
    """While entered, an error ends the block and no more; what it was is put under ``name``."""
    try:
        yield
    except Exception as error:
        found[name] = f"failed: {type(error).__name__}: {str(error)[:500]}"
        print(f"{name}: {found[name]}", flush=True)
