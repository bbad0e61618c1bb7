"""What is read from outside: closed to unknown keys, its first problem a line that names it."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from seqmem.errors import SeqmemError, nearest


class Section(BaseModel):
    """A table of the recipe; frozen, and closed to unknown keys."""

    # On a command line, the prompt 1984 reads as a number.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


S = TypeVar("S", bound=BaseModel)


def validated(schema: type[S], values: Mapping[str, Any], where: str) -> S:
    """Validate ``values``; the first problem becomes a one-line :class:`SeqmemError` that starts with ``where``."""
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
        raise SeqmemError(f"{where}: {_explain(schema, problem)}") from None


def _explain(schema: type[BaseModel], problem: ErrorDetails) -> str:
    # A kind of value, where there are several, is in parentheses: the user did not write it.
    path = [str(part) for part in problem["loc"] if not str(part).startswith("(")]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(schema, path[:-1])
        return f"unknown key '{key}'{nearest(path[-1], fields) if fields else '; leave it out'}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing; give it a value"
    message = problem["msg"].removeprefix("Value error, ")
    return f"key '{key}' = {problem['input']!r}: {message[:1].lower()}{message[1:]}" if key else message


def _fields_at(schema: type[BaseModel], sections: list[str]) -> Iterable[str]:
    for section in sections:
        annotation = schema.model_fields[section].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ()
        schema = annotation
    return schema.model_fields
