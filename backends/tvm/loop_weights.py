"""The weights of a generation loop, as its kernel reads them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqmem.ops.loop import ConvolutionProgram
from seqmem.ops.step import Affine

from .spec import LoopSpec

LOWEST = -1e30
"""Logit of a class that is none."""


@torch.no_grad()
def laid_out(program: ConvolutionProgram, spec: LoopSpec) -> dict[str, Tensor]:
    """By name: a row of outputs for every input, of whole vectors, zeros after them.

    Rows of matrices are cut into blocks, which are summed one after the other; so they follow each other in memory.
    """

    def blocks(weight: Tensor) -> Tensor:
        """``[..., in, out] -> [..., in * out]``."""
        return torch.cat([block.flatten(-2) for block in weight.split(spec.block(weight.shape[-1]), -1)], -1)

    layers, padded = program.layers, spec.padded
    num_streams = max(layer.bias.shape[0] for layer in layers)
    biases = [layer.bias.expand(num_streams, -1).unflatten(1, (2, -1)) for layer in layers]
    gates = [layer.gates.permute(2, 1, 0).unflatten(2, (2, -1)) for layer in layers]
    out = [_rows(layer.out, layer.skip.weight.new_zeros(spec.channels, spec.gates)) for layer in layers]
    skip = [_rows(layer.skip, layer.skip.weight) for layer in layers]
    hidden, hidden_bias = _rows(program.hidden, program.hidden.weight)
    head, head_bias = _rows(program.head, program.head.weight)
    # By phase, and a mixture's logits, means and log-scales apart; absent choices are never taken.
    phases, parts = (program.num_phases, 1) if program.kind == "softmax" else (1, 3)
    head = head.unflatten(1, (phases, parts, spec.choices)).movedim(1, 0)
    head_bias = head_bias.view(phases, parts, spec.choices)
    laid_out = {
        "first": _padded(program.first, padded(spec.channels)),
        "first_bias": _padded(program.first_bias, padded(spec.channels)),
        "gates": blocks(_padded(torch.stack(gates), padded(spec.gates)).flatten(3).flatten(1, 2)),
        "gates_bias": _padded(torch.stack(biases), padded(spec.gates)),
        "out": blocks(_padded(torch.stack([weight for weight, _ in out]), padded(spec.channels))),
        "out_bias": _padded(torch.stack([bias for _, bias in out]), padded(spec.channels)),
        "skip": blocks(_padded(torch.cat([weight for weight, _ in skip]), padded(spec.skip))),
        "skip_bias": _padded(torch.stack([bias for _, bias in skip]).sum(0), padded(spec.skip)),
        "hidden": blocks(_padded(hidden, padded(spec.hidden))),
        "hidden_bias": _padded(hidden_bias, padded(spec.hidden)),
        "head": blocks(_padded(head, padded(spec.choices)).flatten(2)),
        "head_bias": _padded(head_bias, padded(spec.choices), LOWEST),
    }
    return {name: tensor.contiguous() for name, tensor in laid_out.items()}


def _rows(affine: Affine | None, absent: Tensor) -> tuple[Tensor, Tensor]:
    """The weight ``[in, out]`` and the bias, which may be absent, as the whole may be."""
    weight = absent if affine is None else affine.weight
    bias = None if affine is None else affine.bias
    return weight.t(), weight.new_zeros(len(weight)) if bias is None else bias


def _padded(tensor: Tensor, length: int, value: float = 0.0) -> Tensor:
    """Rows as long as that."""
    return F.pad(tensor, (0, length - tensor.shape[-1]), value=value)
