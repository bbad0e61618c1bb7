"""Tiles of the Triton kernels, measured on a GPU or by what the compiler says: ``python tools/tune triton``."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import click
from table import merge


@click.command()
@click.option("--kernel", "kernels", multiple=True, help="Only rows of this kernel.")
@click.option("--item-bytes", type=int, multiple=True, help="Only rows of numbers of 2 bytes, or of 4.")
@click.option("--width", "widths", type=int, multiple=True, help="Only rows of this width.")
@click.option("--positions/--no-positions", default=None, help="Only rows with relative positions, or without.")
@click.option("--length", default=16_384, show_default=True)
@click.option("--window", default=1024, show_default=True)
@click.option("--minutes", default=1440.0, show_default=True, help="Stop after these; what is used most comes first.")
@click.option("--ahead", "architecture", type=int, help="Without a GPU: what spills least on this architecture, as 90.")
@click.option("--table", type=click.Path(path_type=Path), help="Where to write, instead of backends/triton/tuned.json.")
def triton(
    kernels: tuple[str, ...],
    item_bytes: tuple[int, ...],
    widths: tuple[int, ...],
    positions: bool | None,
    length: int,
    window: int,
    minutes: float,
    architecture: int | None,
    table: Path | None,
) -> None:
    """Search tiles for every kernel by itself, in causal attention to a window, and write each row as it is found."""
    deadline = monotonic() + 60 * minutes
    import torch
    from seqmem.backends.triton.installed import interpreting
    from seqmem.backends.triton.tiles import TABLE
    from triton_launch import Problem
    from triton_measured import compilers, fastest
    from triton_rows import rows_by_use
    from triton_spills import least_spilling

    if interpreting():
        raise click.ClickException("TRITON_INTERPRET is set, and interpreted kernels have no speed; unset it")
    if architecture is None and not torch.cuda.is_available():
        raise click.ClickException("no CUDA GPU is here to time kernels on; --ahead 90 goes by what the compiler says")
    wanted: dict[str, tuple[object, ...]] = {"kernel": kernels, "item_bytes": item_bytes, "width": widths}
    wanted["positions"] = () if positions is None else (positions,)
    chosen = [key for key in rows_by_use() if all(getattr(key, name) in only for name, only in wanted.items() if only)]
    if not chosen:
        raise click.UsageError("the table has no such row")
    problem, run = Problem(length, window), partial(tune, chosen, table or TABLE, deadline)
    if architecture is None:
        with compilers() as pool:
            run(partial(fastest, pool, problem, deadline))
    else:
        run(partial(least_spilling, architecture, problem))


def tune(keys: Iterable[Any], table: Path, deadline: float, choose: Callable[[Any], tuple[object, str] | None]) -> None:
    """Choose the tiles of each row, and write them before the next, so that nothing is lost to Ctrl-C."""
    for key in keys:
        if monotonic() >= deadline:
            break
        try:
            found = choose(key)
        except TimeoutError:
            break
        if found is None:
            click.echo(f"{key}: nothing fits, the row stays")
            continue
        tiles, why = found
        merge(table, key, tiles)
        click.echo(f"{key}: {tiles}, {why}")
