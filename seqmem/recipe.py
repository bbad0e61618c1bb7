"""Recipes: found by path or built-in name, read, and changed by dotted keys."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqmem.config import Recipe, validated
from seqmem.errors import SeqmemError, nearest

FILE_NAME = "recipe.toml"


def builtin_recipes() -> dict[str, Path]:
    """Names and folders of the recipes that came with the installation."""
    package = Path(__file__).resolve().parent
    in_wheel = (package / "recipes").is_dir()
    root = (package if in_wheel else package.parent) / "recipes"
    return {file.parent.relative_to(root).as_posix(): file.parent for file in sorted(root.rglob(FILE_NAME))}


def builtin_recipe(name: str) -> Path:
    """Folder of a built-in recipe, called ``pg19`` or ``recipes/pg19``."""
    recipes = builtin_recipes()
    key = name.removeprefix("recipes/").rstrip("/")
    if key not in recipes:
        raise SeqmemError(f"no file, folder or built-in recipe '{name}'{nearest(key, recipes)}")
    return recipes[key]


def find_recipe(name: str) -> Path:
    """The recipe file that ``name`` means: a file or a folder with a recipe.toml, else a built-in recipe."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    return builtin_recipe(name) / FILE_NAME


def load_recipe(name: str, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe (TOML, or the JSON of a run's config.json) and replace values.

    Settings of another ``model.name`` and of a ``model.size`` ask for that model as its size describes it: none of the
    recipe's own model keys stay. A ``model.name`` alone keeps them, for a relative that has the same.

    Args:
        name: what :func:`find_recipe` takes.
        settings: new values by dotted key, as ``{"train.lr": 1e-3}``.

    Raises:
        SeqmemError: no such recipe, unreadable file, unknown key or illegal value.
    """
    values = _read(find_recipe(name))
    settings = settings or {}
    if _names_another_model(values.get("model"), settings):
        values["model"] = {}
    for key, value in settings.items():
        _put(values, key, value)
    return validated(Recipe, values, f"recipe '{name}'")


def parse_value(text: str) -> Any:
    """Read a TOML value; what is none, as a bare word, is a string."""
    try:
        # In an array, a comment or a line break cannot cut the text short.
        values = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:
        return text
    return values[0] if len(values) == 1 else text


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return dict(json.loads(text)) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, TypeError) as error:  # not UTF-8, not TOML, not JSON or not an object
        raise SeqmemError(f"{path}: not a recipe: {error}") from None


def _names_another_model(model: Any, settings: Mapping[str, Any]) -> bool:
    """Whether ``settings`` describe, by name and size, a model that is not the recipe's."""
    is_described = {"model.name", "model.size"} <= settings.keys()
    return is_described and isinstance(model, dict) and settings["model.name"] != model.get("name")


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    table = values
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise SeqmemError(f"setting '{key}': '{section}' is a value, not a section")
    table[last] = value
