"""Lengths that may differ from layer to layer."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

Length = Annotated[int, Field(ge=0)]


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
            raise ValueError(f"'{self.layers}' of {num_layers} layers; lower k")
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


PerLayer = Annotated[
    Annotated[Length, Tag("(length)")]
    | Annotated[tuple[Length, ...], Tag("(layers)")]
    | Annotated[Placement, Tag("(placement)")],
    Discriminator(_kind),
]
"""One length for all layers, one for each, or a placement of long and short ones."""


def per_layer(value: int | tuple[int, ...] | Placement, num_layers: int, name: str) -> tuple[int, ...]:
    """One length a layer, from one for all, one for each, or a placement.

    Raises:
        ValueError: not as many lengths as layers.
    """
    if isinstance(value, Placement):
        return value.per_layer(num_layers)
    if isinstance(value, int):
        return (value,) * num_layers
    if len(value) != num_layers:
        raise ValueError(f"{name} has {len(value)} values for {num_layers} layers; give one, or one a layer")
    return value


def span(lengths: tuple[int, ...]) -> str:
    """``32`` or ``16 to 64``."""
    low, high = min(lengths), max(lengths)
    return f"{low}" if low == high else f"{low} to {high}"
