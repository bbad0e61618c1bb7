"""``seqmem export-hf``: a model of ours becomes one of Hugging Face's."""

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for config.json and weights.")
def command(run: Path, out: Path) -> None:
    """Write the model of RUN, a run, checkpoint or imported folder, so that transformers' from_pretrained reads it."""
    from seqmem.convert.export_hf import export_hf

    for note in export_hf(run, out):
        click.echo(f"note: {note}")
    click.echo(f"model      {out}")
