"""How close to low rank a trained model attends: singular values of its attention (Wang et al. 2020, section 3)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqmem.data.documents import Documents
from seqmem.data.reading import Rows
from seqmem.errors import SeqmemError
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.report.layered import LayeredOps, follow
from seqmem.report.runs import RunRecord, read_data
from seqmem.report.style import layer_styles, panels
from seqmem.train.checkpoint import load_trained
from seqmem.train.device import default_device
from seqmem.train.evaluate import at_eval_lengths

NUM_STREAMS = 4
NUM_SEGMENTS = 4

Spectrum = list[np.ndarray]
"""For each layer ``[H, R]``: the share of the largest 1 ... R singular values of attention in the sum of all."""


@dataclass(frozen=True)
class SpectrumOps(LayeredOps):
    """Operations that keep, for each layer, the spectra of the attention matrices it computes."""

    found: dict[int, list[Tensor]] = field(default_factory=dict)

    def attend(self, q, k, v, pattern, **options):
        # Weighted sums of unit vectors are the weights.
        self._keep(super().attend(q, k, _units(k), pattern, **options)[0])
        return super().attend(q, k, v, pattern, **options)

    def band_pv(self, p, v, band):
        self._keep(super().band_pv(p, _units(v), band))
        return super().band_pv(p, v, band)

    def _keep(self, weights: Float[Tensor, "B T H S"]) -> None:
        values = torch.linalg.svdvals(weights.transpose(1, 2).double())
        self.found.setdefault(self.layer, []).append((values.cumsum(-1) / values.sum(-1, keepdim=True)).mean(0))


def attention_spectrum(run: RunRecord) -> Spectrum:
    """The spectra of a run's newest checkpoint on validation data, after memory has filled.

    Raises:
        SeqmemError: there is no checkpoint, no causal model that attends, or too short a validation split.
    """
    ops = SpectrumOps(bind("pytorch").preference)
    trained = load_trained(run.path, ops).to(default_device())
    if not isinstance(trained, CausalModel):
        raise SeqmemError(f"run '{run.path}' trained an encoder; spectra are of causal models, name such a run")
    model = at_eval_lengths(trained, run.recipe.eval)
    vocabulary, corpus = read_data(run.path, run.recipe)
    return measure(model, ops, Documents.of(corpus, "validation", vocabulary), f"run '{run.path}'")


@torch.no_grad()
def measure(model: CausalModel, ops: SpectrumOps, documents: Documents, where: str) -> Spectrum:
    """Averages over :data:`NUM_SEGMENTS` segments of :data:`NUM_STREAMS` streams, or of as many as there are.

    Args:
        model: in eval mode, computing with ``ops``.
        documents: what is read.
        where: what to call the model in an error.
    """
    segment_len = model.config.unroll_len
    to_fill = -(-model.config.turnover // segment_len) * segment_len
    num_tokens = len(documents.tokens)
    num_streams = min(NUM_STREAMS, (num_tokens - 1) // (to_fill + segment_len))
    if not num_streams:
        raise SeqmemError(f"{where}: {num_tokens} validation tokens do not fill its memory; give it a longer text")
    num_layers = follow(model, ops)
    device, state = next(model.parameters()).device, model.init_state(num_streams)
    for index, read in enumerate(Rows.end_to_end(documents, num_streams).segments(segment_len)):
        inputs = read.inputs
        if inputs.shape[1] < segment_len or index == to_fill // segment_len + NUM_SEGMENTS:
            break
        if index == to_fill // segment_len:
            ops.found.clear()
        state = model(inputs.to(device), state).state
    layers = [ops.found[layer] for layer in range(num_layers) if layer in ops.found]
    if not layers:
        raise SeqmemError(
            f"{where}: {type(model).__name__} attends to nothing, so it has no spectrum; name another run"
        )
    return list(map(_mean, layers))


def _units(keys: Float[Tensor, "B S H D"]) -> Float[Tensor, "B S H S"]:
    batch_size, num_keys, num_heads = keys.shape[:3]
    units = torch.eye(num_keys, dtype=keys.dtype, device=keys.device)
    return units[None, :, None].expand(batch_size, -1, num_heads, -1).contiguous()


def _mean(spectra: list[Tensor]) -> np.ndarray:
    """Over matrices of the highest rank there is; calls over fewer tokens or keys are left out."""
    rank = max(spectrum.shape[1] for spectrum in spectra)
    return torch.stack([spectrum for spectrum in spectra if spectrum.shape[1] == rank]).mean(0).cpu().numpy()


def rank_of(cumulative: np.ndarray, share: float = 0.9) -> float:
    """How many singular values it takes to have ``share`` of their sum, the mean over heads ``[H, R]``."""
    return float((cumulative < share).sum(1).mean() + 1)


def draw_spectra(spectra: Mapping[str, Spectrum], folder: Path) -> list[Path]:
    """``spectrum.png``, a panel for each run, a line for a layer, its heads' mean; ``spectrum.json``, all heads."""
    figure, table = folder / "spectrum.png", folder / "spectrum.json"
    with panels(figure, len(spectra)) as axes:
        for ax, (label, layers) in zip(axes, spectra.items(), strict=True):
            for heads, style in zip(layers, layer_styles(range(len(layers))), strict=True):
                ranks = np.arange(1, heads.shape[1] + 1)
                named = style["label"] and f"{style['label']}: 90 % in {rank_of(heads):.0f}"
                ax.plot(ranks, heads.mean(0), **style | {"label": named})
                ax.fill_between(ranks, heads.min(0), heads.max(0), color=style["color"], alpha=0.12, linewidth=0)
            ax.set(title=f"Attention's rank: {label}", xlabel="largest singular values", ylabel="share of their sum")
            ax.legend()
    table.write_text(json.dumps({label: [heads.tolist() for heads in layers] for label, layers in spectra.items()}))
    return [figure, table]
