"""``seqmem compare``: several models, one protocol, one table."""

from pathlib import Path

import click
from rich.console import Console


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--recipe", metavar="RECIPE", help="Train and compare what the compare.toml beside this recipe names.")
@click.option("--data", metavar="PATH", help="Train the recipe's models on this.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the table goes, and the runs of a recipe.  [default: runs/compare or runs/compare-RECIPE]",
)
def command(runs: tuple[Path, ...], recipe: str | None, data: str | None, out: Path | None) -> None:
    """Compare RUNs, or the runs that a recipe's compare.toml names, at equal tokens and equal seconds.

    Runs that differ in train.seed alone are one entry. With --recipe, what is not trained yet is trained first; after
    Ctrl-C the same command goes on. Where models make sound, a sound of each and its picture are put beside the table.
    """
    if bool(runs) == bool(recipe):
        raise click.UsageError("Name either runs or --recipe RECIPE.")
    if data and not recipe:
        raise click.UsageError("--data is what --recipe RECIPE trains on; runs have theirs.")
    from seqmem.report.protocol import compare_recipe, compare_runs

    console = Console()
    if recipe:
        compare_recipe(recipe, out, console, data)
    else:
        compare_runs(runs, out or Path("runs/compare"), console)
