"""Where a trained model attends: the mass on each part of what a token sees, oldest first (Rae et al. 2019, 5.6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from seqmem.data.documents import Documents
from seqmem.data.reading import Rows
from seqmem.errors import SeqmemError
from seqmem.models.segmented import SegmentedTransformer
from seqmem.ops import bind
from seqmem.report.runs import RunRecord, read_data
from seqmem.report.style import color, layer_styles, panels
from seqmem.train.checkpoint import load_trained, newest_checkpoint
from seqmem.train.device import default_device
from seqmem.train.evaluate import at_eval_lengths

NUM_BUCKETS = 6
NUM_STREAMS = 8
NUM_SEGMENTS = 32

Mass = list[dict[str, np.ndarray]]
"""For each layer, by part (``"memory"``, ``"segment"``, ...), the average weight of each slot ``[N]``, oldest first."""


def attention_mass(run: RunRecord) -> Mass | None:
    """The attention of a run's newest checkpoint, averaged over validation data after memory has filled.

    Returns:
        The mass, or None for a run without checkpoint or a model that does not tell.

    Raises:
        SeqmemError: the validation split is missing, or too short to fill the memory.
    """
    if not newest_checkpoint(run.path):
        return None
    trained = load_trained(run.path, bind(run.recipe.backend)).to(default_device())
    if not isinstance(trained, SegmentedTransformer):
        return None
    model = at_eval_lengths(trained, run.recipe.eval)
    vocabulary, corpus = read_data(run.path, run.recipe)
    return measure(model, Documents.of(corpus, "validation", vocabulary), f"run '{run.path}'")


@torch.no_grad()
def measure(model: SegmentedTransformer, documents: Documents, where: str) -> Mass:
    """Average of ``model.attention_mass`` over the segments after memory has filled, at most :data:`NUM_SEGMENTS`.

    Args:
        model: in eval mode.
        documents: what is read.
        where: what to call the model in an error.
    """
    segment_len, to_fill = model.config.segment_len, model.config.turnover
    num_tokens = len(documents.tokens)
    num_streams = min(NUM_STREAMS, num_tokens // (to_fill + 2 * segment_len))
    if not num_streams:
        raise SeqmemError(f"{where}: {num_tokens} validation tokens do not fill its memory; give it a longer text")
    device = next(model.parameters()).device
    state = model.init_state(num_streams)
    found: list[Mass] = []
    for index, read in enumerate(Rows.end_to_end(documents, num_streams).segments(segment_len)):
        inputs = read.inputs
        if inputs.shape[1] < segment_len or len(found) == NUM_SEGMENTS:
            break
        if index * segment_len >= to_fill:
            mass = model.attention_mass(inputs.to(device), state)
            found.append([{part: weights.cpu().numpy() for part, weights in layer.items()} for layer in mass])
        state = model(inputs.to(device), state).state
    return [
        {part: np.mean([mass[layer][part] for mass in found], axis=0) for part in found[0][layer]}
        for layer in range(len(found[0]))
    ]


def buckets(weights: np.ndarray) -> np.ndarray:
    """The mass ``[NUM_BUCKETS]`` of equal stretches of ``weights [N]``; a slot may be shared by two of them."""
    borders = np.linspace(0, len(weights), NUM_BUCKETS + 1)
    up_to = np.concatenate([[0.0], np.cumsum(weights, dtype=float)])
    return np.diff(np.interp(borders, np.arange(len(up_to)), up_to))


def draw_attention(masses: Mapping[str, Mass], file: Path) -> Path:
    """A panel for each run: bars for the mean over layers, a line for each layer; every part in six buckets."""
    with panels(file, len(masses)) as axes:
        for ax, (label, mass) in zip(axes, masses.items(), strict=True):
            _draw_mass(ax, mass)
            ax.set(title=f"Attention: {label}", ylabel="share of attention")
    return file


def _draw_mass(axes: Axes, mass: Mass) -> None:
    parts = [part for part in mass[0] if any(layer[part].size for layer in mass)]
    by_layer = np.array([np.concatenate([buckets(layer[part]) for part in parts]) for layer in mass])
    x = np.arange(by_layer.shape[1])
    axes.bar(x, by_layer.mean(0), width=0.86, color="#c4cbd1", label="mean over layers")
    for values, style in zip(by_layer, layer_styles(range(len(mass))), strict=True):
        axes.plot(x, values, ".-", linewidth=1, markersize=4, **style)
    _name_parts(axes, parts, by_layer.mean(0).reshape(len(parts), NUM_BUCKETS).sum(1))
    axes.set_xlabel(f"what a token sees, oldest first, in {NUM_BUCKETS} equal stretches a part")
    axes.grid(visible=False, axis="x")
    axes.legend(ncols=2)


def _name_parts(axes: Axes, parts: Sequence[str], shares: np.ndarray) -> None:
    """Shade each part and write its name and share of all attention below."""
    starts = [index * NUM_BUCKETS - 0.5 for index in range(len(parts))]
    for index, start in enumerate(starts):
        axes.axvspan(start, start + NUM_BUCKETS, color=color(index), alpha=0.08, linewidth=0, zorder=0)
    centers = [start + NUM_BUCKETS / 2 for start in starts]
    axes.set_xticks(centers, [f"{part} {share:.0%}" for part, share in zip(parts, shares, strict=True)])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(parts) * NUM_BUCKETS - 0.5)
