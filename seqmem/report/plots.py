"""``seqmem plot``: what runs have logged, overlaid, over the tokens they have seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from rich.console import Console

from seqmem.errors import SeqmemError
from seqmem.report.attention import attention_mass, draw_attention
from seqmem.report.measure import Measure, measure_of
from seqmem.report.recall import draw_recall, recall_of
from seqmem.report.runs import RunRecord, read_run, short_labels
from seqmem.report.say import say
from seqmem.report.spectrum import attention_spectrum, draw_spectra
from seqmem.report.style import color, layer_styles, panels, saved_figure, tokens_axis

AUXILIARY = "auxiliary/"
T = TypeVar("T")


@dataclass(frozen=True)
class Curve:
    """A metric, what to call it, and its matplotlib format."""

    key: str
    name: str
    format: str = "-"


@dataclass(frozen=True)
class Plot:
    """A figure: the name of its file, title, unit and scale of its y axis, and what it shows of each run."""

    name: str
    title: str
    unit: str
    curves: tuple[Curve, ...]
    scale: str = "linear"
    from_zero: bool = False


LOSS = Plot("loss", "Training loss", "nats/token", (Curve("loss", "training"),))
SCORES = Plot(
    "scores",
    "Right answers, validation",
    "share",
    tuple(
        Curve(f"validation_{key}", key.replace("_", " "), format)
        for key, format in (("accuracy", "o-"), ("exact_match", "s-"), ("f1", "^:"))
    ),
)
COURSE = (
    Plot(
        "grad_norm",
        "Gradient norm before clipping",
        "norm",
        (Curve("grad_norm", "likelihood"), Curve("auxiliary_grad_norm", "auxiliary losses", ":")),
        "log",
    ),
    Plot("throughput", "Training speed", "tokens/s", (Curve("tokens_per_second", "training"),), from_zero=True),
)


def plot_runs(paths: Sequence[Path], out: Path, console: Console, spectrum: bool = False) -> list[Path]:
    """Draw what the runs have logged and where their models attend; return the files, all of them in ``out``.

    Args:
        paths: run folders.
        out: where the files go.
        console: where to say whose attention or spectrum cannot be measured.
        spectrum: whether to measure the rank of attention, too.

    Raises:
        SeqmemError: a folder that is no run, or that has logged nothing yet.
    """
    runs = dict(zip(short_labels(paths), map(read_run, paths), strict=True))
    files = [_draw_curves(plot, runs, out / f"{plot.name}.png") for plot in _plots(runs)]
    auxiliary = {label: losses for label, run in runs.items() if (losses := _auxiliary_losses(run))}
    if auxiliary:
        files.append(_draw_auxiliary_losses(runs, auxiliary, out / "auxiliary_loss.png"))
    if masses := _measured(runs, attention_mass, "attention", console):
        files.append(draw_attention(masses, out / "attention.png"))
    if recalls := {label: found for label, run in runs.items() if (found := recall_of(run))}:
        files.append(draw_recall(recalls, out / "recall.png"))
    if spectrum and (spectra := _measured(runs, attention_spectrum, "spectrum", console)):
        files += draw_spectra(spectra, out)
    return files


def _plots(runs: Mapping[str, RunRecord]) -> list[Plot]:
    """What is drawn of these runs: bits/byte where some are of text, bits/sample of sound; scores where of a task."""
    recipes = [run.recipe for run in runs.values()]
    measures = {measure.key: measure for measure in (measure_of(recipe) for recipe in recipes if not recipe.is_scored)}
    scores = [SCORES] if any(recipe.is_scored for recipe in recipes) else []
    return [LOSS, *map(_bits, measures.values()), *scores, *COURSE]


def _bits(measure: Measure) -> Plot:
    curves = (Curve(measure.key, "training"), Curve(f"validation_{measure.key}", "validation", "o"))
    return Plot(measure.key, f"Bits per {measure.unit}", measure.label, curves)


def _measured(
    runs: Mapping[str, RunRecord], measure: Callable[[RunRecord], T | None], what: str, console: Console
) -> dict[str, T]:
    """What ``measure`` finds of each run; it is said of which it finds nothing for want of something."""
    found = {}
    for label, run in runs.items():
        try:
            if measured := measure(run):
                found[label] = measured
        except SeqmemError as error:
            say(console, f"{what} of {label} is not drawn: {error}")
    return found


def _draw_curves(plot: Plot, runs: Mapping[str, RunRecord], file: Path) -> Path:
    """A colour for each run, a format for each metric."""
    curves = [curve for curve in plot.curves if any(len(run.series(curve.key)[0]) for run in runs.values())]
    with saved_figure(file) as figure:
        axes = figure.subplots()
        for index, run in enumerate(runs.values()):
            for curve in curves:
                axes.plot(*run.series(curve.key), curve.format, color=color(index), markersize=4.5)
        axes.set(title=plot.title, ylabel=plot.unit, yscale=plot.scale)
        if plot.from_zero:
            axes.set_ylim(bottom=0)
        tokens_axis(axes)
        _add_legend(axes, list(runs), curves)
    return file


def _add_legend(axes: Axes, labels: Sequence[str], curves: Sequence[Curve]) -> None:
    """The runs by colour and, where there are several metrics, those by format."""
    entries = [Line2D([], [], color=color(index), label=label) for index, label in enumerate(labels)]
    if len(curves) > 1:
        for curve in curves:
            entries += axes.plot([], [], curve.format, color="#777777", markersize=4.5, label=curve.name)
    axes.legend(handles=entries)


def _auxiliary_losses(run: RunRecord) -> dict[str, list[str]]:
    """The metrics of each auxiliary loss, one a layer: ``{"likeness": ["auxiliary/likeness.0", ...]}``."""
    keys = {key for record in run.records for key in record if key.startswith(AUXILIARY)}
    by_loss: dict[str, list[str]] = {}
    for key in sorted(keys, key=_layer):
        by_loss.setdefault(key.removeprefix(AUXILIARY).rpartition(".")[0], []).append(key)
    return by_loss


def _layer(key: str) -> int:
    return int(key.rpartition(".")[2])


def _draw_auxiliary_losses(
    runs: Mapping[str, RunRecord], losses: Mapping[str, Mapping[str, Sequence[str]]], file: Path
) -> Path:
    """A panel for each loss of each run, a line for each layer."""
    shown = [(label, loss, keys) for label in losses for loss, keys in losses[label].items()]
    with panels(file, len(shown)) as axes:
        for ax, (label, loss, keys) in zip(axes, shown, strict=True):
            for key, style in zip(keys, layer_styles([_layer(key) for key in keys]), strict=True):
                ax.plot(*runs[label].series(key), **style)
            ax.set(title=f"{loss.replace('_', ' ').capitalize()}: {label}", ylabel="auxiliary loss")
            tokens_axis(ax)
            ax.legend()
    return file
