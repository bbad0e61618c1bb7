"""``seqmem train``: a recipe, changed on the command line, becomes a run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seqmem.cli.settings import split_settings
from seqmem.config import DataConfig, Recipe
from seqmem.recipe import load_recipe

if TYPE_CHECKING:
    from seqmem.train.objective import Objective
    from seqmem.train.stages import Stage


@click.command(
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS] [--SECTION.KEY VALUE]...",
)
@click.argument("arguments", metavar="RECIPE", nargs=-1, type=click.UNPROCESSED)
@click.option("--size", metavar="NAME", help="Train the recipe in one of its sizes; see seqmem recipes list.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Another way to write --KEY VALUE.")
@click.option("--backend", metavar="NAME[,NAME]", help="Who computes attention; a list is tried in order.")
@click.option("--data", metavar="PATH", help="Train on this folder, file or URL of texts, or on sounds.")
@click.option("--init", metavar="RUN", help="Begin with the weights and the tokenizer of this run.")
@click.option("--run", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/RECIPE/TIME]")
@click.option(
    "--resume",
    metavar="[auto|never|RUN]",
    is_flag=False,
    flag_value="auto",
    help="Go on from the last checkpoint: of --run, or of the recipe's newest run (auto), or of another run."
    "  [default: auto with --run]",
)
@click.option("--print-config", is_flag=True, help="Print the whole recipe, to be saved and trained, and stop.")
@click.option("--dry-run", is_flag=True, help="Print size, memory and tokens a step, and stop.")
def command(
    arguments: tuple[str, ...],
    size: str | None,
    assignments: tuple[str, ...],
    backend: str | None,
    data: str | None,
    init: str | None,
    run: Path | None,
    resume: str | None,
    print_config: bool,
    dry_run: bool,
) -> None:
    """Train RECIPE: a folder with a recipe.toml, such a file, or the name of a built-in recipe.

    Any value of the recipe, in the size asked for, can be changed: --train.lr 1e-3, --train.lr=1e-3 and train.lr=1e-3
    are the same.
    With --resume RUN, RECIPE may be left out: the run's own is used.
    """
    words, settings = split_settings(arguments)
    settings |= _assigned(assignments)
    if backend:
        settings["backend"] = backend
    if data:
        settings["data.path"] = data
    if init:
        settings["train.init"] = init
    earlier = _run_named(resume)
    if run and earlier:
        raise click.UsageError("--run and --resume RUN both name the run's folder; leave one out.")

    recipe = load_recipe(_source(words, earlier), settings, size)
    objective, stages = _objective_and_stages(recipe)
    if print_config:
        click.echo(recipe.model_dump_json(indent=2))
    elif dry_run:
        _print_size(recipe, objective, stages)
    else:
        from seqmem.train.trainer import train

        if recipe.codec:
            _report_sounds(recipe.data, recipe.codec.sample_rate)
        train(recipe, run or earlier or _unnamed_run(recipe, resume), resume != "never")


def _report_sounds(data: DataConfig, sample_rate: int) -> None:
    """Prepare the sounds, unless that is done, and say what they are before anything is trained on them."""
    from seqmem.data.sounds import load_sounds
    from seqmem.report.levels import drawn_report

    store = load_sounds(data, sample_rate)
    click.echo(f"{store.report.table()}\nlevels     {drawn_report(store)}\n")


def _assigned(assignments: tuple[str, ...]) -> dict[str, Any]:
    words, settings = split_settings(assignments)
    if words:
        raise click.UsageError(f"--set wants KEY=VALUE, not '{words[0]}'.")
    return settings


def _run_named(resume: str | None) -> Path | None:
    """The folder of the run that --resume RUN goes on with."""
    if resume in (None, "auto", "never"):
        return None
    from seqmem.train.checkpoint import run_folder

    return run_folder(resume)


def _source(words: list[str], earlier: Path | None) -> str:
    """The recipe's name; to go on with a run, its own recipe unless another is named."""
    if len(words) > 1:
        raise click.UsageError(f"Got unexpected extra argument ({words[1]}).")
    if words:
        return words[0]
    if earlier is None:
        raise click.UsageError("Missing argument 'RECIPE'.")
    return str(earlier / "config.json")


def _unnamed_run(recipe: Recipe, resume: str | None) -> Path:
    """A new folder in runs/RECIPE, or the newest one there when asked to go on."""
    runs = Path("runs") / recipe.name
    started = sorted(runs.glob("*/checkpoints/step-*")) if resume == "auto" else []
    return started[-1].parents[1] if started else runs / datetime.now().strftime("%Y%m%d-%H%M%S")


def _objective_and_stages(recipe: Recipe) -> tuple[Objective[Any], list[Stage]]:
    """What the recipe trains for, and its stages with the model's configurations, which are thereby checked."""
    from seqmem.train.objective import objective_of
    from seqmem.train.stages import stages_of

    return objective_of(recipe), stages_of(recipe)


def _print_size(recipe: Recipe, objective: Objective[Any], stages: list[Stage]) -> None:
    from seqmem.cli.size import num_parameters, training_memory
    from seqmem.ops import bind
    from seqmem.train.stages import tokens_read

    steps = recipe.train.steps
    click.echo(f"model       {recipe.model_name}, {num_parameters(objective, stages[0].config):,} parameters")
    for stage in stages:
        memory = training_memory(stage.config, bind(recipe.backend), stage.training, objective)
        parts = ", ".join(f"{purpose} {size / 1e6:,.1f}" for purpose, size in memory.items())
        if len(stages) > 1:
            click.echo(f"stage       {stage}")
        batch_size = stage.training.batch_size
        click.echo(f"step        {stage.tokens_a_step:,} tokens: {batch_size} {objective.rows} x {stage.row_len}")
        click.echo(f"memory      about {sum(memory.values()) / 1e6:,.0f} MB of tensors: {parts}")
    click.echo(f"training    {steps:,} steps, {tokens_read(stages, steps):,} tokens")
