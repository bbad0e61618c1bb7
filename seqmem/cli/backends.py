"""``seqmem backends``: who can compute attention here, and why others cannot."""

import click
from rich.console import Console
from rich.table import Table


@click.command()
@click.option("--clear-cache", is_flag=True, help="Remove every compiled kernel instead.")
def command(clear_cache: bool) -> None:
    """The attention backends: available or the reason, operations by tier, dtypes, devices."""
    from seqmem.ops import cache
    from seqmem.ops.registry import survey

    if clear_cache:
        removed = cache.clear()
        for name in removed:
            click.echo(f"removed {name}")
        click.echo(f"compiled kernels removed from {cache.directory()}: {len(removed)}")
        return
    table = Table("backend", "origin", "available", "operations by tier", "dtypes", "devices")
    for backend in survey():
        operations = [f"{tier}: {', '.join(names)}" for tier, names in sorted(backend.operations.items()) if names]
        table.add_row(
            backend.name,
            backend.origin,
            "yes" if backend.available else f"no: {backend.reason}",
            "\n".join(operations),
            ", ".join(backend.dtypes),
            ", ".join(backend.devices),
        )
    Console(markup=False, emoji=False).print(table)
