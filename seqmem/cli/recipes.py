"""``seqmem recipes``: the built-in recipes."""

import shutil
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from seqmem.errors import SeqmemError
from seqmem.recipe import FILE_NAME, builtin_recipe, builtin_recipes, load_recipe, recipe_sizes


@click.group()
def command() -> None:
    """The built-in recipes."""


@command.command("list")
def list_recipes() -> None:
    """Name, model, sizes and purpose of each."""
    table = Table("recipe", "model", "sizes", "what it trains")
    for name, folder in builtin_recipes().items():
        recipe = load_recipe(str(folder))
        table.add_row(name, recipe.model_name, ", ".join(recipe_sizes(str(folder))), recipe.description)
    Console(markup=False, emoji=False).print(table)


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a recipe as it is written."""
    click.echo((builtin_recipe(name) / FILE_NAME).read_text(encoding="utf-8"), nl=False)


@command.command()
@click.argument("name")
@click.argument("destination", type=click.Path(path_type=Path))
def copy(name: str, destination: Path) -> None:
    """Copy a recipe to a new folder, to be changed there."""
    if destination.exists():
        raise SeqmemError(f"'{destination}' exists; name a folder that does not")
    shutil.copytree(builtin_recipe(name), destination)
    click.echo(f"Now: seqmem train {destination}")
