"""Backends live beside the package in a checkout and inside it in a wheel; either way they import from here."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
if (_ROOT / "pyproject.toml").is_file():
    __path__.append(str(_ROOT / "backends"))
