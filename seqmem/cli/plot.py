"""``seqmem plot``: what runs have logged, as figures."""

from pathlib import Path

import click
from rich.console import Console


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the PNGs go.  [default: RUN/plots, or plots for several runs]",
)
@click.option("--spectrum", is_flag=True, help="Also draw the singular values of attention on validation data.")
def command(runs: tuple[Path, ...], out: Path | None, spectrum: bool) -> None:
    """Draw RUN's loss, bits/byte, gradient norm and speed over the tokens it has seen; several runs are overlaid.

    Runs of sound have bits/sample instead. Auxiliary losses and the mass of attention on memory and segment are drawn
    where a model has them.
    """
    from seqmem.report.plots import plot_runs

    default = runs[0] / "plots" if len(runs) == 1 else Path("plots")
    for file in plot_runs(runs, out or default, Console(stderr=True), spectrum):
        click.echo(file)
