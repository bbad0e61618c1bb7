"""Recipes: found by path or built-in name, read in one of their sizes, and changed by dotted keys."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqmem.config import Recipe
from seqmem.errors import SeqmemError, nearest
from seqmem.schema import Section, validated

FILE_NAME = "recipe.toml"


class Sizes(Section):
    """Of a recipe: by name, tables like the recipe's own, ``[sizes.NAME.model]``, whose values replace its values."""

    sizes: dict[str, dict[str, Any]]


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


def recipe_sizes(name: str) -> list[str]:
    """Names of the sizes that a recipe comes in besides its own values."""
    return list(_read(name)[1])


def load_recipe(name: str, settings: Mapping[str, Any] | None = None, size: str | None = None) -> Recipe:
    """Read a recipe (TOML, or the JSON of a run's config.json) and replace values: first by its size, then by settings.

    Either, if it gives another ``model.name`` and a ``model.size``, asks for that model as its size describes it: none
    of the model keys before it stay. A ``model.name`` alone keeps them, for a relative that has the same.

    Args:
        name: what :func:`find_recipe` takes.
        settings: new values by dotted key, as ``{"train.lr": 1e-3}``.
        size: one of :func:`recipe_sizes`; the recipe's own values when absent.

    Raises:
        SeqmemError: no such recipe or size, unreadable file, unknown key or illegal value.
    """
    values, sizes = _read(name)
    where = f"recipe '{name}'"
    if size is not None:
        if size not in sizes:
            raise SeqmemError(f"{where} has no size '{size}'{nearest(size, sizes) if sizes else '; leave it out'}")
        _change(values, dotted(sizes[size]))
        where += f", size '{size}'"
    _change(values, settings or {})
    return validated(Recipe, values, where)


def dotted(table: Mapping[str, Any]) -> dict[str, Any]:
    """``{"model": {"mem_len": 0}}`` and ``{"model.mem_len": 0}`` both are the latter; deeper tables are values."""
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            settings |= {f"{key}.{inner}": setting for inner, setting in value.items()}
        else:
            settings[key] = value
    return settings


def parse_value(text: str) -> Any:
    """Read a TOML value; what is none, as a bare word, is a string."""
    try:
        # In an array, a comment or a line break cannot cut the text short.
        values = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:
        return text
    return values[0] if len(values) == 1 else text


def _read(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The values of a recipe, and its sizes."""
    path = find_recipe(name)
    try:
        text = path.read_text(encoding="utf-8")
        values = dict(json.loads(text)) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, TypeError) as error:  # not UTF-8, not TOML, not JSON or not an object
        raise SeqmemError(f"{path}: not a recipe: {error}") from None
    sizes = validated(Sizes, {"sizes": values.pop("sizes", {})}, f"recipe '{name}'").sizes
    return values, sizes


def _change(values: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Replace values of a recipe, in place, by settings under dotted keys."""
    if _names_another_model(values.get("model"), settings):
        values["model"] = {}
    for key, value in settings.items():
        _put(values, key, value)


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
