"""Attention in linear time beside windows and full attention: time a token by length, and where they cross."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import click
import torch
from attention_layers import HEADS, LAYERS, NUM_FEATURES, NUM_SLOTS, WIDTH, WINDOW
from crossing import Costs, Crossing, crossings, draw
from measure import computed, report

from seqmem.ops import bind
from seqmem.report.speed import take_turns, this_machine
from seqmem.train.device import keep_freed_memory

LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
DIRECTIONS = {"forward": False, "forward+backward": True}


@click.command()
@click.option("--backend", default="tvm", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--length", "lengths", type=click.IntRange(min=1), multiple=True, default=LENGTHS, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="A layer whose pass took longer reads nothing longer.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the costs here, as PNG.")
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def crossover(
    backend: str, rounds: int, lengths: tuple[int, ...], seconds: float, figure: Path | None, json_path: str | None
) -> None:
    """Attention layers with their projections at one width, float32, a text at a time; layers of a length take turns.

    Full attention is torch's, windows the backend's; sums over the past and mixtures of keys run where it runs them.
    """
    keep_freed_memory()
    costs: dict[str, dict[str, dict[int, float]]] = {}
    found: dict[str, list[Crossing]] = {}
    for (seen, layers), (direction, backward) in product(LAYERS.items(), DIRECTIONS.items()):
        name = f"{seen}, {direction}"
        turns = partial(timed, seen, backward, backend, rounds)
        costs[name] = by_length(list(layers), turns, sorted(lengths), seconds)
        found[name] = crossings(costs[name])
    shape = dict(width=WIDTH, heads=HEADS, window=WINDOW, features=NUM_FEATURES, slots=NUM_SLOTS, backend=backend)
    crossed = {name: [asdict(one) for one in of_name] for name, of_name in found.items()}
    report({"shape": shape, "microseconds_a_token": costs, "crossings": crossed}, table(costs, found), json_path)
    if figure:
        draw(costs, f"An attention layer of width {WIDTH}, {HEADS} heads, float32, {backend}: {this_machine()}", figure)


def by_length(
    layers: list[str], timed: Callable[[int, list[str]], dict[str, float]], lengths: list[int], seconds: float
) -> dict[str, dict[int, float]]:
    """Microseconds a token of each layer at each length, but for lengths beyond one whose pass took ``seconds``."""
    costs: dict[str, dict[int, float]] = {layer: {} for layer in layers}
    for length in lengths:
        taken = timed(length, layers)
        for layer in layers:
            costs[layer][length] = 1e6 * taken[layer] / length
        layers = [layer for layer in layers if taken[layer] <= seconds]
    return costs


def timed(seen: str, backward: bool, backend: str, rounds: int, length: int, layers: list[str]) -> dict[str, float]:
    """Seconds a pass of each layer."""
    x = torch.randn(1, length, WIDTH, generator=torch.Generator().manual_seed(0)).requires_grad_(backward)
    ops = bind(backend)
    turns = {layer: computed(partial(LAYERS[seen][layer](length, ops), x), backward) for layer in layers}
    return take_turns(turns, rounds)


def table(costs: Mapping[str, Mapping[str, Costs]], found: Mapping[str, list[Crossing]]) -> list[str]:
    """Costs by length, one row a layer, then where they cross."""
    lines = []
    for name, layers in costs.items():
        lengths = sorted({length for of_layer in layers.values() for length in of_layer})
        lines.append(f"\n{f'{name}, us a token':<38}" + "".join(f"{length:>10,}" for length in lengths))
        for layer, of_layer in layers.items():
            numbers = (f"{of_layer[length]:>10.2f}" if length in of_layer else f"{'-':>10}" for length in lengths)
            lines.append(f"{layer:<38}" + "".join(numbers))
        lines += [str(crossing) for crossing in found[name]]
    return lines
