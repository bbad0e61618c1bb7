"""How every figure of a report looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

# The palette of Okabe and Ito, which colour-blind readers can tell apart; then the same colours darker.
COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#003E61", "#7A3600", "#005C43", "#7A3F63", "#8A5F00", "#2B6A8C", "#777777"),
)

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
    "axes.prop_cycle": cycler(color=COLORS),
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


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and axis labels, with units."""
    axes.set(title=title, xlabel=x, ylabel=y)


def tokens_axis(axes: Axes) -> None:
    """The x axis counts training tokens, as 2M."""
    axes.set_xlabel("training tokens")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
