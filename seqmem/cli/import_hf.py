"""``seqmem import-hf``: a model of Hugging Face's becomes one of ours."""

from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the model.")
def command(path: Path, out: Path) -> None:
    """Take over the model of PATH, a folder with config.json and model.safetensors.

    Longformer, BigBird and Transformer-XL can be taken over, with or without a language model's head; other heads are
    left out and named.
    """
    from seqmem.convert.import_hf import import_hf

    for note in import_hf(path, out):
        click.echo(f"note: {note}")
    click.echo(f"model      {out}")
