"""Lengths that may differ from layer to layer."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

Length = Annotated[int, Field(ge=0)]


def _some_or_unlimited(value: int) -> int:
    if value == 0 or value < -1:
        raise ValueError("should be positive, or -1 for no limit")
    return value


Range = Annotated[int, AfterValidator(_some_or_unlimited)]


class Placement(BaseModel):
    """Long memories in some layers, short ones in the others (Rae and Razavi 2020).

    ``layers`` is ``all``, ``first-k``, ``last-k`` or ``interleaved-k``, counted from the input. The k interleaved
    layers are spread evenly and end with the last one; the paper does not say where they begin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    long: Length
    short: Length
    layers: str

    @field_validator("layers")
    @classmethod
    def _known(cls, layers: str) -> str:
        if not re.fullmatch(r"all|(first|last|interleaved)-\d+", layers):
            raise ValueError("should be all, first-k, last-k or interleaved-k with a number k")
        return layers

    def per_layer(self, num_layers: int) -> tuple[int, ...]:
        """Slots of each layer."""
        where, _, number = self.layers.partition("-")
        k = int(number or num_layers)
        if k > num_layers:
            raise ValueError(f"'{self.layers}' of {num_layers} layers; give at most {num_layers}")
        chosen = {
            "all": range(num_layers),
            "first": range(k),
            "last": range(num_layers - k, num_layers),
            "interleaved": [(i + 1) * num_layers // k - 1 for i in range(k)],
        }[where]
        return tuple(self.long if layer in chosen else self.short for layer in range(num_layers))


def _kind(value: Any) -> str:
    if isinstance(value, dict | Placement):
        return "(placement)"
    return "(layers)" if isinstance(value, list | tuple) else "(length)"


Lengths = Annotated[
    Annotated[Length, Tag("(length)")]
    | Annotated[tuple[Length, ...], Tag("(layers)")]
    | Annotated[Placement, Tag("(placement)")],
    Discriminator(_kind),
]
"""One length for all layers, one for each, or a placement of long and short ones."""

Ranges = Annotated[
    Annotated[Range, Tag("(length)")] | Annotated[tuple[Range, ...], Tag("(layers)")], Discriminator(_kind)
]
"""One range for all layers, or one for each; -1 for no limit."""


def per_layer(value: int | tuple[int, ...] | Placement, num_layers: int, name: str) -> tuple[int, ...]:
    """One length a layer, from one for all, one for each, or a placement.

    Raises:
        ValueError: not as many lengths as layers, or more chosen layers than there are.
    """
    if isinstance(value, Placement):
        try:
            return value.per_layer(num_layers)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if isinstance(value, int):
        return (value,) * num_layers
    if len(value) != num_layers:
        raise ValueError(f"{name} has {len(value)} values for {num_layers} layers; give one, or one a layer")
    return value


def span(lengths: tuple[int, ...]) -> str:
    """``32`` or ``16 to 64``."""
    low, high = min(lengths), max(lengths)
    return f"{low}" if low == high else f"{low} to {high}"
