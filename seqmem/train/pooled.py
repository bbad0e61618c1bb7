"""A vector for each text of a batch, from the hidden states of all layers of any causal model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.models.base import CausalModel


def pooled(model: CausalModel, inputs: Int[Tensor, "B T"]) -> Float[Tensor, "B d"]:
    """The maximum over time of every layer's hidden states, and of what the head reads, side by side.

    Texts are read from an empty memory; gradients flow. float64 stays, anything else becomes float32.
    """
    with watched(model) as layers:
        final = model(inputs, model.init_state(inputs.shape[0])).hidden
    # A model that stops at borders calls a layer several times, for a piece of the text each.
    states = [torch.cat(pieces, 1) for pieces in layers] + [final]
    return torch.cat([_full(state).amax(1) for state in states], -1)


def pooled_width(model: CausalModel) -> int:
    """Width of the vectors that :func:`pooled` makes."""
    training, device = model.training, next(model.parameters()).device
    with torch.no_grad():
        width = pooled(model.eval(), torch.zeros(1, 1, dtype=torch.long, device=device)).shape[1]
    model.train(training)
    return width


@contextmanager
def watched(model: CausalModel) -> Iterator[list[list[Tensor]]]:
    """For each layer of ``model.stack()``, the hidden states ``[B, T, d]`` of its calls in the context, in order."""
    layers = list(model.stack())
    seen: list[list[Tensor]] = [[] for _ in layers]
    handles = [layer.register_forward_hook(_note(calls)) for layer, calls in zip(layers, seen, strict=True)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _note(calls: list[Tensor]) -> Any:
    def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
        calls.append(output[0] if isinstance(output, tuple) else output)

    return hook


def _full(state: Tensor) -> Tensor:
    return state if state.dtype == torch.float64 else state.float()
