"""``seqmem check``: the law of state, verified on a run's own model and data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from seqmem.data.vocabulary import TokenArray


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
    from seqmem.train.checkpoint import load

    model = load(run).double()
    validation, kind = _validation(run)
    ids = validation[: tokens or 3 * model.config.turnover]
    console = Console(markup=False, emoji=False)
    with console.status("running the model in every kind of piece"):
        results = check_state_law(model, torch.as_tensor(ids, dtype=torch.long)[None])

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


def _validation(run: Path) -> tuple[TokenArray, str]:
    """The tokens of the run's validation split, and whether they are text or sound."""
    from seqmem.data.corpus import load_corpus
    from seqmem.data.tokens import read_tokens
    from seqmem.train.checkpoint import load_recipe_of, load_tokenizer, load_vocabulary

    recipe = load_recipe_of(run)
    if recipe.codec:
        return read_tokens(recipe.data, load_vocabulary(run)).splits["validation"], "sound"
    documents = load_corpus(recipe.data).splits["validation"]
    return load_tokenizer(run).encode_documents(document.text for document in documents), "text"
