"""``seqmem models``: what can be trained."""

import click
from rich.console import Console
from rich.table import Table


@click.command()
def command() -> None:
    """The models, their sizes and the number of their parameters."""
    from seqmem.cli.size import num_parameters
    from seqmem.models import ENCODERS, MODELS

    table = Table("model", "size", "parameters", "what it is")
    table.columns[2].justify = "right"
    for models in (MODELS, ENCODERS):
        for name in models:
            cls = models.model_class(name)
            purpose = (cls.__doc__ or "").strip().partition("\n")[0]
            for row, size in enumerate(cls.SIZES):
                count = f"{num_parameters(models, f'{name}/{size}'):,}"
                table.add_row("" if row else name, size, count, "" if row else purpose)
    Console(markup=False, emoji=False).print(table)
