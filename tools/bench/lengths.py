"""Windowed models on ever longer texts in one call: time a token, and the memory that the call takes."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import click
import torch
from measure import computed, in_new_process, report
from torch import Tensor

from seqmem.models import build_encoder, build_model
from seqmem.ops import bind
from seqmem.report.speed import take_turns
from seqmem.train.device import keep_freed_memory, peak_memory, reset_peak_memory

LENGTHS = (4096, 16384, 65536)
DIRECTIONS = {"forward": False, "forward+backward": True}
CPU = torch.device("cpu")


@click.command()
@click.option("--backend", default="tvm", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def lengths(backend: str, rounds: int, json_path: str | None) -> None:
    """Cost by length: longformer-lm/bytes-cpu, and an encoder of that width with a global token; batch 1, float32.

    Megabytes are what a call adds, at its peak, to what the process held before it.
    """
    record: dict[str, Any] = {}
    lines = []
    for (model, make), (direction, backward) in product(MODELS.items(), DIRECTIONS.items()):
        of = partial(make, backend)
        seconds = in_new_process(timed, of, backward, rounds)
        rows = {}
        for length in LENGTHS:
            added = in_new_process(megabytes, of, backward, length)
            rows[length] = {
                "microseconds_a_token": 1e6 * seconds[length] / length,
                "megabytes": added,
                "bytes_a_token": 1e6 * added / length,
            }
        record[f"{model}, {direction}"] = rows
        lines.append(f"\n{f'{model}, {direction}':<44} {'us a token':>10} {'MB':>8} {'bytes a token':>14}")
        for length, row in rows.items():
            numbers = f"{row['microseconds_a_token']:>10.2f} {row['megabytes']:>8.0f} {row['bytes_a_token']:>14,.0f}"
            lines.append(f"{length:>37,} tokens {numbers}")
    report(record, lines, json_path)


def language_model(backend: str) -> Callable[[Tensor], Tensor]:
    model = build_model("longformer-lm/bytes-cpu", bind(backend)).eval()
    return lambda ids: model(ids).hidden


def encoder(backend: str) -> Callable[[Tensor], Tensor]:
    size = dict(num_layers=4, d_model=128, num_heads=4, d_inner=640, window=128, max_len=max(LENGTHS))
    model = build_encoder("longformer/tiny", bind(backend), **size).eval()
    return lambda ids: model(ids, global_mask=torch.arange(ids.shape[1])[None] == 0)


MODELS: dict[str, Callable[[str], Callable[[Tensor], Tensor]]] = {
    "longformer-lm": language_model,
    "longformer, a global token": encoder,
}


def timed(make: Callable[[], Callable[[Tensor], Tensor]], backward: bool, rounds: int) -> dict[int, float]:
    """Seconds a pass of each length."""
    keep_freed_memory()
    hidden = make()
    runs = {length: computed(partial(hidden, text(length)), backward) for length in LENGTHS}
    seconds = take_turns({str(length): run for length, run in runs.items()}, rounds)
    return {length: seconds[str(length)] for length in LENGTHS}


def megabytes(make: Callable[[], Callable[[Tensor], Tensor]], backward: bool, length: int) -> float:
    """What a pass adds at its peak, in a process that has seen a short text."""
    hidden = make()
    computed(partial(hidden, text(512)), backward)()
    run = computed(partial(hidden, text(length)), backward)
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    run()
    return peak_memory(CPU) - before


def text(length: int) -> Tensor:
    return torch.randint(256, (1, length), generator=torch.Generator().manual_seed(0))
