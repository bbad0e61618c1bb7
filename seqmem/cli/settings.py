"""Settings of a recipe among a verb's arguments: ``--a.b value``, ``--a.b=value`` and ``a.b=value``."""

import re
from collections.abc import Sequence
from typing import Any

import click

from seqmem.config import Recipe
from seqmem.recipe import parse_value
from seqmem.schema import Section

_ASSIGNMENT = re.compile(r"(?P<key>[\w.-]+)=(?P<value>.*)", re.DOTALL)


def split_settings(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Part arguments into plain words and settings by dotted key, with values parsed."""
    words: list[str] = []
    settings: dict[str, Any] = {}
    remaining = iter(arguments)
    for argument in remaining:
        text = argument.removeprefix("--")
        is_option = text != argument
        assignment = _ASSIGNMENT.fullmatch(text)
        if is_option and "." not in text.partition("=")[0]:
            raise click.UsageError(_unknown_option(argument))
        if assignment:
            settings[assignment["key"]] = parse_value(assignment["value"])
        elif is_option:
            settings[text] = parse_value(_value_of(argument, next(remaining, None)))
        else:
            words.append(argument)
    return words, settings


def _value_of(option: str, value: str | None) -> str:
    if value is None or value.startswith("--"):
        raise click.UsageError(f"Setting '{option}' needs a value.")
    return value


def _unknown_option(option: str) -> str:
    name = option.removeprefix("--").partition("=")[0].replace("-", "_")
    known = [f"--{section}.{key}" for section, key in _recipe_keys() if key == name]
    hint = f"Did you mean {' or '.join(known)}?" if known else "Settings are written --section.key, as --train.lr."
    return f"No such option: {option}. {hint}"


def _recipe_keys() -> list[tuple[str, str]]:
    sections = {name: field.annotation for name, field in Recipe.model_fields.items()}
    return [
        (name, key)
        for name, section in sections.items()
        if isinstance(section, type) and issubclass(section, Section)
        for key in section.model_fields
    ]
