"""How every figure of a report looks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":")

STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def saved_figure(path: Path, width: float = 7.0, height: float = 4.2) -> Iterator[Figure]:
    """A figure of ``width`` x ``height`` inches to draw on, written to ``path`` as PNG when the block ends."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")


@contextmanager
def panels(path: Path, count: int) -> Iterator[list[Axes]]:
    """``count`` panels, at most two side by side, in a figure written to ``path`` when the block ends."""
    columns = min(2, count)
    rows = -(-count // columns)
    with saved_figure(path, 7.0 * columns, 4.2 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).flat
        yield list(grid)[:count]
        for unused in list(grid)[count:]:
            unused.remove()


def color(index: int) -> str:
    """Of the run or entry with this number."""
    return COLORS[index % len(COLORS)]


def dashes(index: int) -> str:
    """The line style that tells entries of one colour apart."""
    return DASHES[index // len(COLORS) % len(DASHES)]


def layer_styles(layers: Sequence[int]) -> list[dict[str, Any]]:
    """Colour and label of lines, one a layer: from dark to bright, at most nine of them named."""
    shades, last = mpl.colormaps["viridis"], max(1, len(layers) - 1)
    stride = -(-len(layers) // 9)
    return [
        {"color": shades(0.9 * index / last), "label": None if index % stride else f"layer {layer}"}
        for index, layer in enumerate(layers)
    ]


def tokens_axis(axes: Axes) -> None:
    """The x axis counts training tokens, as 2M."""
    axes.set_xlabel("training tokens")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
