"""The figure of a comparison: where each entry ends, and how it got there."""

from pathlib import Path

from matplotlib.axes import Axes

from seqmem.report.comparison import Comparison, Sample
from seqmem.report.style import color, dashes, saved_figure, tokens_axis


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Left, where entries are at both budgets, the best on top, with every seed; right, the mean validation curves."""
    height = max(4.2, 1.6 + 0.42 * len(comparison.rows))
    with saved_figure(path, 12.0, height) as figure:
        figure.suptitle(comparison.title, x=0.01, ha="left", fontweight="bold")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _draw_ends(left, comparison)
        _draw_curves(right, comparison)


def _draw_ends(axes: Axes, comparison: Comparison) -> None:
    rows, measure = comparison.rows, comparison.measure
    for index, row in enumerate(rows):
        tokens, seconds = (f"equal {measure.things}", "equal seconds") if index == 0 else (None, None)
        _draw_sample(axes, row.at_tokens.bits, index - 0.13, "o", color(0), tokens)
        _draw_sample(axes, row.at_seconds.bits, index + 0.13, "s", color(1), seconds)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(title="Where they end", xlabel=f"validation {measure.label} (less is better)")
    axes.legend()


def _draw_sample(axes: Axes, sample: Sample, y: float, marker: str, shade: str, label: str | None) -> None:
    axes.errorbar(sample.mean, y, xerr=sample.std, fmt=marker, color=shade, markersize=6, capsize=3, label=label)
    if len(sample.values) > 1:
        axes.plot(sample.values, [y] * len(sample.values), "|", color=shade, markersize=7, alpha=0.6)


def _draw_curves(axes: Axes, comparison: Comparison) -> None:
    measure = comparison.measure
    for index, row in enumerate(comparison.rows):
        axes.plot(*row.curve, dashes(index), color=color(index), label=row.name)
    equal = f"equal {measure.things}"
    axes.axvline(comparison.budget.tokens, color="#999999", linewidth=1, linestyle=":", label=equal)
    axes.set(title="How they get there", ylabel=f"validation {measure.label}, mean over seeds")
    tokens_axis(axes)
    axes.legend()
