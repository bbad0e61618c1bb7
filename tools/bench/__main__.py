"""Benchmarks, ratios side by side in one run: ``python tools/bench attention --json``."""

import click
from attention import attention
from blocks import blocks
from compressive import compressive
from crossover import crossover
from generation import generation
from lengths import lengths
from linear import linear
from longformer import longformer
from spans import spans
from streaming import streaming
from targets import targets
from titans import titans
from tokenization import tokenization
from training import recipe
from wavenet import wavenet


@click.group()
def main() -> None:
    """Benchmarks; each prints a table, or JSON with --json."""


main.add_command(attention)
main.add_command(blocks)
main.add_command(compressive)
main.add_command(crossover)
main.add_command(generation)
main.add_command(lengths)
main.add_command(linear)
main.add_command(longformer)
main.add_command(recipe)
main.add_command(spans)
main.add_command(streaming)
main.add_command(targets)
main.add_command(titans)
main.add_command(tokenization)
main.add_command(wavenet)
main()
