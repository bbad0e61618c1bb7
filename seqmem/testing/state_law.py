"""The law every causal model obeys: whole = chunked = token by token = cached generation = its compiled step."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:  # a backend can be tested without what models need
    from seqmem.models.base import CausalModel

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}


@dataclass(frozen=True)
class LawResult:
    """One way to run the sequence, compared with running it whole.

    Args:
        difference: largest absolute difference of hidden states, relative to their largest magnitude.
    """

    name: str
    difference: float
    passed: bool


def check_state_law(model: CausalModel, tokens: Int[Tensor, "B T"]) -> list[LawResult]:
    """Run tokens whole and in pieces, with the training state, the generation state and generation's step, and compare.

    Splits: 1, segment - 1, segment, segment + 1 and random; T should be several times what the model remembers.
    Meant for float64, where differences are rounding only; the model's mode is kept, so give it in eval mode.
    """
    tolerance = TOLERANCE[next(model.parameters()).dtype]
    with torch.no_grad():
        whole = model(tokens).hidden
        scale = whole.abs().max().item()
        results = []
        for name, hidden in _ways(model, tokens):
            difference = (hidden - whole).abs().max().item() / scale
            results.append(LawResult(name, difference, difference <= tolerance))
    return results


def splits(total: int, segment_len: int) -> Iterator[tuple[str, list[int]]]:
    """Named ways to cut ``total`` tokens into calls."""
    named = {
        "token by token": 1,
        "segment - 1": segment_len - 1,
        "segment": segment_len,
        "segment + 1": segment_len + 1,
    }
    for name, size in named.items():
        if size:
            yield name, [min(size, total - start) for start in range(0, total, size)]
    rng = random.Random(total)
    lengths: list[int] = []
    while sum(lengths) < total:
        lengths.append(min(rng.randint(1, 2 * segment_len), total - sum(lengths)))
    yield "random", lengths


def _ways(model: CausalModel, tokens: Tensor) -> Iterator[tuple[str, Tensor]]:
    for name, lengths in splits(tokens.shape[1], model.config.segment_len):
        yield name, _in_pieces(model, tokens, lengths, cached=False)
        yield f"cached, {name}", _in_pieces(model, tokens, lengths, cached=True)
    step = model.generation_step(model.init_state(tokens.shape[0]))
    yield "generation step", torch.stack([step(token) for token in tokens.unbind(1)], 1)


def _in_pieces(model: CausalModel, tokens: Tensor, lengths: list[int], cached: bool) -> Tensor:
    state = model.init_state(tokens.shape[0])
    if cached:
        state = model.generation_state(state)
    hidden = []
    for piece in tokens.split(lengths, 1):
        out = model(piece, state)
        state = out.state
        hidden.append(out.hidden)
    return torch.cat(hidden, 1)
