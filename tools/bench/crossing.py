"""From which length on one layer is cheaper than another, and the figure of both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from matplotlib.ticker import StrMethodFormatter

from seqmem.report.style import color, panels

Costs = Mapping[int, float]
"""Microseconds a token by length."""


NUM_REFERENCES = 2


@dataclass(frozen=True)
class Crossing:
    """Where a layer comes to be cheaper than a reference, and stays so up to the longest text that both read.

    Attributes:
        length: in tokens; None where it is dearer at ``longest``, ``shortest`` where it is never dearer.
        shortest, longest: lengths that both were measured at.
    """

    layer: str
    reference: str
    length: float | None
    shortest: int
    longest: int

    def __str__(self) -> str:
        if self.length is None:
            where = f"not cheaper up to {self.longest:,} tokens"
        elif self.length == self.shortest:
            where = f"cheaper at {self.shortest:,} tokens already"
        else:
            where = f"cheaper from about {self.length:,.0f} tokens"
        return f"{self.layer}, than {self.reference}: {where}"


def crossings(costs: Mapping[str, Costs]) -> list[Crossing]:
    """Of all other layers with the first two, the references."""
    references, layers = list(costs)[:NUM_REFERENCES], list(costs)[NUM_REFERENCES:]
    found = []
    for layer, reference in product(layers, references):
        both = sorted(costs[layer].keys() & costs[reference].keys())
        length = cheaper_from(costs[layer], costs[reference], both)
        found.append(Crossing(layer, reference, length, both[0], both[-1]))
    return found


def cheaper_from(one: Costs, other: Costs, lengths: list[int]) -> float | None:
    """From where on ``one`` is cheaper: on straight lines in the logarithms of length and cost between ``lengths``."""
    excess = [math.log(one[length] / other[length]) for length in lengths]
    if excess[-1] >= 0:
        return None
    last_dearer = max((place for place, value in enumerate(excess) if value >= 0), default=None)
    if last_dearer is None:
        return lengths[0]
    (before, after), (above, below) = lengths[last_dearer:][:2], excess[last_dearer:][:2]
    return before * (after / before) ** (above / (above - below))


def draw(costs: Mapping[str, Mapping[str, Costs]], title: str, path: Path) -> None:
    """Microseconds a token by length, a panel for each of ``costs``, both axes logarithmic."""
    every = [cost for layers in costs.values() for of_layer in layers.values() for cost in of_layer.values()]
    lengths = sorted({length for layers in costs.values() for of_layer in layers.values() for length in of_layer})
    with panels(path, len(costs)) as grid:
        for axes, (name, layers) in zip(grid, costs.items(), strict=True):
            for index, (layer, of_layer) in enumerate(layers.items()):
                axes.plot(list(of_layer), list(of_layer.values()), "o-", color=color(index), markersize=4, label=layer)
            axes.set(title=name, xlabel="tokens of the text", ylabel="microseconds a token", xscale="log", yscale="log")
            axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
            axes.minorticks_off()
            axes.set_ylim(min(every) / 1.3, max(every) * 1.3)
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axes.legend()
        figure = grid[0].get_figure()
        assert figure is not None
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
