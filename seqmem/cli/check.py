"""``seqmem check``: the law of state, verified on a run's own model and data."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--tokens",
    type=click.IntRange(min=2),
    help="Length of validation text or sound to use.  [default: three turnovers of memory]",
)
def command(run: Path, tokens: int | None) -> None:
    """Verify in float64 that RUN's model gives the same whole, in chunks, token by token and with its cache.

    Exits with 1 where it does not.
    """
    import torch

    from seqmem.testing.state_law import check_state_law
    from seqmem.train.checkpoint import load, load_recipe_of, load_tokens

    model = load(run).double()
    ids = load_tokens(run).splits["validation"][: tokens or 3 * model.config.turnover]
    kind = "sound" if load_recipe_of(run).codec else "text"
    console = Console(markup=False, emoji=False)
    with console.status("running the model in every kind of piece"):
        results = check_state_law(model, torch.from_numpy(ids.astype("int64"))[None])

    turnovers = f"{len(ids) / model.config.turnover:,.1f} turnovers of memory"
    table = Table(
        "whole against",
        "largest relative difference",
        "",
        title=f"{len(ids)} tokens of validation {kind}, {turnovers}, float64",
    )
    for result in results:
        table.add_row(result.name, f"{result.difference:.1e}", "same" if result.passed else "DIFFERENT")
    console.print(table)
    if not all(result.passed for result in results):
        sys.exit(1)
