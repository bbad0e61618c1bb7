"""Steps of training taking turns, each contender in a process of its own as its users' would be."""

from collections.abc import Callable
from functools import partial

import click
import torch
from measure import MATMUL_OPERATIONS, matmul, report, taking_turns

from seqmem.config import Recipe
from seqmem.recipe import load_recipe, parse_value

STEPS_A_TURN = 2
WARM_UP_TURNS = 4  # fill memories
SHAPE = {
    "tokenizer.vocab_size": 8000,
    "model.d_model": 256,
    "model.num_layers": 6,
    "model.num_heads": 4,
    "model.head_dim": 64,
    "model.d_inner": 1024,
    "model.segment_len": 256,
    "model.mem_len": 256,
    "train.batch_size": 4,
}


@click.command()
@click.option("--backend", default="tvm", show_default=True)
@click.option("--set", "changes", nargs=2, multiple=True, metavar="KEY VALUE", help="As --set model.mem_len 128.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def recipe(backend: str, changes: tuple[tuple[str, str], ...], rounds: int, json_path: str | None) -> None:
    """Tokens a second of training recipes/pg19 at the shape of ``compressive``, on a backend and on pytorch."""
    settings = SHAPE | {key: parse_value(value) for key, value in changes}
    of = load_recipe("pg19", settings)
    names = dict.fromkeys((backend, "pytorch"))
    seconds = side_by_side({f"seqmem, {name}": partial(our_step, of, name) for name in names}, rounds)
    rate = matmul_rate(seconds)
    tokens = STEPS_A_TURN * of.train.batch_size * of.model["segment_len"]
    rows = {
        name: {"tokens_per_second": tokens / taken, "times_pytorch": seconds["seqmem, pytorch"] / taken}
        for name, taken in seconds.items()
    }
    lines = [f"{'':<24} {'tokens/s':>9} {'x pytorch':>10}"]
    lines += [
        f"{name:<24} {row['tokens_per_second']:>9,.0f} {row['times_pytorch']:>10.2f}" for name, row in rows.items()
    ]
    lines.append(f"torch.mm of 2048^3 beside it: {rate / 1e9:.0f} GFLOP/s")
    report({"settings": settings, "matmul_gflops": rate / 1e9, "training": rows}, lines, json_path)


def our_step(recipe: Recipe, backend: str) -> Callable[[], object]:
    """A step of this project's trainer on random tokens; called in the contender's process."""
    from seqmem.ops import bind
    from seqmem.train.setup import new_session

    vocab_size = recipe.vocabulary_settings["vocab_size"]
    text = torch.randint(vocab_size, (recipe.train.batch_size * 64 * recipe.model["segment_len"],)).numpy()
    return new_session(recipe, vocab_size, text, bind(backend)).step


def side_by_side(steps: dict[str, Callable[[], Callable[[], object]]], rounds: int) -> dict[str, float]:
    """Median seconds a turn of each contender and of ``matmul``; what makes a step is called in its process."""
    turns = {name: partial(several, make) for name, make in (steps | {"matmul": matmul}).items()}
    return taking_turns(turns, rounds, WARM_UP_TURNS)


def several(make: Callable[[], Callable[[], object]]) -> Callable[[], None]:
    """A turn of steps."""
    step = make()

    def turn() -> None:
        for _ in range(STEPS_A_TURN):
            step()

    return turn


def matmul_rate(seconds: dict[str, float]) -> float:
    """Take ``matmul`` out of what :func:`side_by_side` gave; its operations a second."""
    return STEPS_A_TURN * MATMUL_OPERATIONS / seconds.pop("matmul")
