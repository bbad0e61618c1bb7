"""Options that both commands have that generate something."""

from collections.abc import Callable

import click

OPTIONS = (
    click.option("--temperature", type=click.FloatRange(min=0), help="0 takes the likeliest.  [default: the recipe's]"),
    click.option(
        "--top-p",
        type=click.FloatRange(min=0, max=1, min_open=True),
        help="Draw from the likeliest tokens that together have this probability.  [default: the recipe's]",
    ),
    click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same again."),
    click.option("--backend", metavar="NAME[,NAME]", help="Who computes.  [default: the recipe's]"),
)


def sampling_options(command: Callable) -> Callable:
    """Give a command ``temperature``, ``top_p``, ``seed`` and ``backend``."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
