"""What the figures show."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from seqmem.errors import SeqmemError
from seqmem.report.comparison import Budget, Comparison
from seqmem.report.entries import Entry
from seqmem.report.figure import draw_comparison
from seqmem.report.plots import plot_runs
from seqmem.report.runs import RunRecord
from seqmem.report.speed import Machine

Run = Callable[..., RunRecord]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures by file name, as they were when they were written."""
    figures: dict[str, Figure] = {}
    save = Figure.savefig

    def savefig(figure: Figure, path: Path, **options: object) -> None:
        figures[path.name] = figure
        save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


@pytest.fixture
def trained(run: Run) -> Callable[..., RunRecord]:
    """``trained("name", loss=[...], ...)``: a run that logged these values at steps 10, 20, ..."""

    def make(name: str, nats: dict[int, float] | None = None, **metrics: list[float]) -> RunRecord:
        record = run(name, nats or {})
        with (record.path / "metrics.jsonl").open("a") as file:
            for index, values in enumerate(zip(*metrics.values(), strict=True), start=1):
                file.write(json.dumps({"step": 10 * index} | dict(zip(metrics, values, strict=True))) + "\n")
        return record

    return make


def lines(figure: Figure, panel: int = 0) -> list[tuple[list[float], list[float]]]:
    """Points of the lines of a panel, without those that are there for the legend."""
    shown = [(line.get_xdata(), line.get_ydata()) for line in figure.axes[panel].lines]
    return [(list(x), list(y)) for x, y in shown if len(x)]


def legend(figure: Figure, panel: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].get_legend().get_texts()]


def test_runs_are_overlaid_over_tokens(trained: Callable, drawn: dict[str, Figure], tmp_path: Path):
    one = trained("one", {20: 4.0}, bits_per_byte=[3.0, 2.5], grad_norm=[1.0, 0.5], tokens_per_second=[9.0, 8.0])
    two = trained("two", bits_per_byte=[2.0, 1.5], grad_norm=[2.0, 1.0], tokens_per_second=[7.0, 6.0])
    files = plot_runs([one.path, two.path], tmp_path / "plots", Console(quiet=True))
    assert [file.name for file in files] == ["loss.png", "bits_per_byte.png", "grad_norm.png", "throughput.png"]
    assert all(file.stat().st_size > 5000 for file in files)
    bits = drawn["bits_per_byte.png"]
    assert lines(bits) == [
        ([160, 320], [3.0, 2.5]),
        ([320], [2.0]),  # a validation, half of 4 nats
        ([160, 320], [2.0, 1.5]),
    ]
    assert legend(bits) == ["one", "two", "training", "validation"]
    assert lines(drawn["throughput.png"]) == [([160, 320], [9.0, 8.0]), ([160, 320], [7.0, 6.0])]
    assert legend(drawn["throughput.png"]) == ["one", "two"]


def test_runs_of_sound_are_drawn_by_the_sample(run: Run, trained: Callable, drawn: dict[str, Figure], tmp_path: Path):
    sound, text = run("sound", {20: 4.0}, codec={}), trained("text", bits_per_byte=[3.0], grad_norm=[1.0])
    files = plot_runs([sound.path], tmp_path / "plots", Console(quiet=True))
    assert [file.stem for file in files] == ["loss", "bits_per_sample", "grad_norm", "throughput"]
    assert lines(drawn["bits_per_sample.png"]) == [([320], [2.0])]
    assert drawn["bits_per_sample.png"].axes[0].get_ylabel() == "bits/sample"
    both = plot_runs([sound.path, text.path], tmp_path / "plots", Console(quiet=True))
    assert [file.stem for file in both][:3] == ["loss", "bits_per_sample", "bits_per_byte"]


def test_every_axis_is_named(trained: Callable, drawn: dict[str, Figure], tmp_path: Path):
    plot_runs(
        [trained("one", bits_per_byte=[3.0], grad_norm=[1.0], tokens_per_second=[9.0]).path],
        tmp_path / "plots",
        Console(quiet=True),
    )
    for name, figure in drawn.items():
        axes = figure.axes[0]
        assert axes.get_title(loc="left"), name
        assert axes.get_xlabel() == "training tokens"
        assert axes.get_ylabel(), name


def test_auxiliary_losses_get_a_panel_a_run_and_a_line_a_layer(
    trained: Callable, drawn: dict[str, Figure], tmp_path: Path
):
    layers = {f"auxiliary/attention_reconstruction.{layer}": [layer + 0.5, layer + 0.25] for layer in (10, 9)}
    with_losses = trained("one", grad_norm=[1.0, 1.0], auxiliary_grad_norm=[0.2, 0.1], **layers)
    plot_runs([with_losses.path, trained("two", grad_norm=[2.0]).path], tmp_path / "plots", Console(quiet=True))
    figure = drawn["auxiliary_loss.png"]
    assert len(figure.axes) == 1
    assert figure.axes[0].get_title(loc="left") == "Attention reconstruction: one"
    assert lines(figure) == [([160, 320], [9.5, 9.25]), ([160, 320], [10.5, 10.25])]
    assert legend(figure) == ["layer 9", "layer 10"]
    assert lines(drawn["grad_norm.png"])[1] == ([160, 320], [0.2, 0.1])
    assert legend(drawn["grad_norm.png"]) == ["one", "two", "likelihood", "auxiliary losses"]


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(SeqmemError, match="does not exist"):
        plot_runs([tmp_path / "none"], tmp_path / "plots", Console(quiet=True))
    assert not (tmp_path / "plots").exists()


def test_a_comparison_of_sounds_is_named_as_such(
    run: Run, entry: Callable[..., Entry], drawn: dict[str, Figure], tmp_path: Path
):
    only = entry("only", run("a", {10: 4.0, 20: 3.0}, codec={}), training=10)
    machine = Machine(processor="abacus", num_cores=1, num_threads=1, torch="2")
    draw_comparison(Comparison("T", "only", Budget(160, 16.0), [only], machine, "", ""), tmp_path / "compare.png")
    ends, curves = drawn["compare.png"].axes
    assert ends.get_xlabel().startswith("validation bits/sample")
    assert curves.get_ylabel().startswith("validation bits/sample")
    assert legend(drawn["compare.png"], 1) == ["only", "equal samples"]


def test_the_comparison_shows_both_budgets_and_the_curves(
    run: Run, entry: Callable[..., Entry], drawn: dict[str, Figure], tmp_path: Path
):
    slow = entry("slow", run("a", {10: 4.0, 20: 3.0}), run("b", {10: 4.2, 20: 3.2}, seed=2), training=10)
    fast = entry("fast", run("c", {10: 3.0, 20: 2.0}), training=20)
    machine = Machine(processor="abacus", num_cores=1, num_threads=1, torch="2")
    comparison = Comparison("Title", "slow", Budget(160, 16.0), [slow, fast], machine, "", "")
    draw_comparison(comparison, tmp_path / "compare.png")
    ends, curves = drawn["compare.png"].axes
    assert [tick.get_text() for tick in ends.get_yticklabels()] == ["fast", "slow"]
    means = [float(container.lines[0].get_xdata()[0]) for container in ends.containers]
    assert means == pytest.approx([1.5, 1.0, 2.05, 2.05])  # equal tokens, equal seconds; fast, then slow
    assert lines(drawn["compare.png"], 1)[0] == ([160, 320], [1.5, 1.0])
    assert legend(drawn["compare.png"], 1) == ["fast", "slow", "equal tokens"]
    assert curves.get_xlabel() == "training tokens"
