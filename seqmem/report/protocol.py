"""``seqmem compare``: from runs, or from a recipe's ``compare.toml``, to a table and a figure."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from seqmem.config import Recipe
from seqmem.report.campaign import Job, num_at_once, train_all
from seqmem.report.comparison import Budget, Comparison, common_budget
from seqmem.report.entries import Entry, check_comparable, check_same_text, group_by_seed
from seqmem.report.expected import Expected
from seqmem.report.figure import draw_comparison
from seqmem.report.plan import Plan, load_plan
from seqmem.report.runs import RunRecord, read_data, read_run, tokens_a_step
from seqmem.report.samples import collect_sounds
from seqmem.report.say import say
from seqmem.report.speed import Speed, side_by_side
from seqmem.report.table import markdown, save


def compare_runs(paths: Sequence[Path], out: Path, console: Console) -> Comparison:
    """Compare finished runs at the most tokens and the most seconds that all of them have; the first is the baseline.

    Args:
        paths: run folders; those that differ in their seed alone are one entry.
        out: where table, figure and speeds go.
        console: where to report.

    Raises:
        SeqmemError: a run that cannot be read, or runs of other data, another tokenizer, codec or evaluation.
    """
    runs = [read_run(path) for path in paths]
    groups = group_by_seed(runs)
    recipes = {name: group[0].recipe for name, group in groups.items()}
    check_comparable(recipes)
    check_same_text(runs)
    measured = side_by_side(recipes, runs[0].path, out / "speed.json", console)
    entries = [Entry(name, group, measured.speeds[name]) for name, group in groups.items()]
    seconds = sum(run.records[-1]["seconds"] for run in runs)
    comparison = Comparison(
        title="Comparison",
        baseline=entries[0].name,
        budget=common_budget(entries),
        entries=entries,
        machine=measured.machine,
        text=_text(runs[0]),
        cost=f"The runs were trained for {seconds / 60:,.1f} minutes in all.",
        sounds=collect_sounds(entries, out),
    )
    _publish(comparison, out, console)
    return comparison


def compare_recipe(source: str, out: Path | None, console: Console, data: str | None = None) -> Comparison | None:
    """Train what the ``compare.toml`` beside a recipe names, as far as it is not trained yet, and compare it.

    Args:
        source: the recipe's name or path.
        out: where runs, table, figure and speeds go; ``runs/compare-NAME`` by default.
        console: where to report.
        data: what to train on instead of the recipe's data.

    Returns:
        The comparison, or None where SIGINT or SIGTERM stopped the training; the next call goes on.

    Raises:
        SeqmemError: what is wrong with recipe, compare.toml or an earlier run in ``out``; a training that failed.
    """
    plan = load_plan(source, data)
    out = out or Path("runs") / f"compare-{plan.name}"
    with _clock(out / "cost.json") as seconds:
        measured = side_by_side(plan.recipes, None, out / "speed.json", console)
        budget = plan.budget(measured.speeds)
        jobs = _jobs(plan, budget, measured.speeds, out)
        say(console, _outline(plan, budget, measured.speeds))
        if not train_all(jobs, console):
            say(console, "Stopped. The same command goes on.")
            return None
    entries = [
        Entry(name, [read_run(_run_folder(out, name, seed)) for seed in plan.seeds], measured.speeds[name])
        for name in plan.recipes
    ]
    comparison = Comparison(
        title=plan.title,
        baseline=plan.baseline,
        budget=budget,
        entries=entries,
        machine=measured.machine,
        text=_text(entries[0].runs[0]),
        cost=f"Measuring speeds and training took the machine {seconds() / 60:,.1f} minutes in all.",
        sounds=collect_sounds(entries, out),
    )
    _publish(comparison, out, console)
    Expected.of(comparison).save(out)
    if expected := Expected.load(plan.folder):
        say(console, expected.verdict(comparison))
    return comparison


def _publish(comparison: Comparison, out: Path, console: Console) -> None:
    """Write table and figure, and print the table."""
    save(comparison, out)
    draw_comparison(comparison, out / "compare.png")
    say(console, "\n" + markdown(comparison))
    say(console, f"Written: {', '.join(str(out / f'compare.{kind}') for kind in ('md', 'csv', 'json', 'png'))}")


def _text(run: RunRecord) -> str:
    """What a run's text or sounds are, and how the run is measured on it."""
    _, corpus = read_data(run.path, run.recipe)
    return f"{corpus.note.rstrip('.')}. The validation split is read whole, {_way_of_reading(run.recipe)}."


def _way_of_reading(recipe: Recipe) -> str:
    if recipe.at_document_end_in_eval == "reset":
        return "every document from an empty memory"
    num_streams = recipe.eval.batch_size
    return f"in {num_streams} stream{'s' * (num_streams > 1)}, with memory carried along"


def _jobs(plan: Plan, budget: Budget, speeds: Mapping[str, Speed], out: Path) -> list[Job]:
    """All runs, seed by seed, so that an interrupted comparison has something of every entry."""
    jobs = []
    for seed in plan.seeds:
        for name, recipe in plan.recipes.items():
            length = {"seed": seed, "steps": plan.steps(name, budget, speeds[name])}
            settings = plan.settings[name] | {f"train.{key}": value for key, value in length.items()}
            trained = recipe.model_copy(update={"train": recipe.train.model_copy(update=length)})
            jobs.append(Job(f"{name}, seed {seed}", _run_folder(out, name, seed), plan.source, settings, trained))
    return jobs


def _run_folder(out: Path, entry: str, seed: int) -> Path:
    return out / "runs" / entry / f"seed-{seed}"


def _outline(plan: Plan, budget: Budget, speeds: Mapping[str, Speed]) -> str:
    """What is to be trained, and how long its steps will take."""
    lines = [f"{plan.title}: {budget.tokens:,} tokens, and {budget.seconds:,.0f} s, of training each"]
    width = max(map(len, plan.recipes))
    total = 0.0
    for name, recipe in plan.recipes.items():
        speed = speeds[name]
        steps = plan.steps(name, budget, speed)
        seconds = steps * tokens_a_step(recipe) / speed.training
        total += seconds * len(plan.seeds) / num_at_once(recipe)
        lines.append(
            f"  {name:<{width}}  {speed.num_parameters:>11,} parameters  {speed.training:>8,.0f} tokens/s  "
            f"{steps:>7,} steps  {seconds:>6,.0f} s"
        )
    lines.append(f"{len(plan.recipes) * len(plan.seeds)} runs, about {total / 60:,.0f} minutes of steps in all")
    return "\n".join(lines)


@contextmanager
def _clock(file: Path) -> Iterator[Callable[[], float]]:
    """Adds the seconds that the block takes to those in ``file``; yields what tells their sum so far."""
    before = json.loads(file.read_text())["seconds"] if file.is_file() else 0.0
    start = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - start

    try:
        yield seconds
    finally:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"seconds": seconds()}))
