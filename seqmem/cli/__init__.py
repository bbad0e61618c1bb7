"""The command line: one file a verb, imported only when the verb runs."""

import sys
from importlib import import_module

import click

from seqmem import __version__
from seqmem.errors import SeqmemError, nearest

VERBS = {
    "train": "Train a recipe, or go on with a run.",
    "eval": "Measure a run: nats/token, bits/byte, word-level perplexity.",
    "plot": "Draw what runs have logged, and where their models attend.",
    "compare": "Compare runs, or train and compare what a recipe names: one protocol, one table.",
    "generate": "Write text with a run.",
    "generate-audio": "Write sound with a run.",
    "data": "Fetch a corpus, make sounds ready, look at what there is.",
    "check": "Verify that a run's model is the same whole, chunked and token by token.",
    "backends": "Show the attention backends and what each can do here.",
    "models": "Show the models and their sizes.",
    "show-mask": "Draw which keys each layer of a model sees.",
    "import-hf": "Take over a model from a Hugging Face folder.",
    "export-hf": "Write a model as a Hugging Face folder.",
    "recipes": "List, show or copy the built-in recipes.",
}


class LazyGroup(click.Group):
    """Reads names and help from :data:`VERBS`, so that ``--help`` imports no verb."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            ctx.fail(f"No such command '{cmd_name}'{nearest(cmd_name, VERBS)}")
        return import_module(f"seqmem.cli.{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup)
@click.version_option(__version__)
def cli() -> None:
    """Long-memory sequence models, computed by interchangeable backends."""


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit code 1, misuse is exit code 2."""
    try:
        cli(prog_name="seqmem")
    except (SeqmemError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
