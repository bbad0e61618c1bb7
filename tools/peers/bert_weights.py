"""Weights of our encoders under the names that Hugging Face gives those of BERT and its kin."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def randomised(encoder: Any) -> Any:
    """All weights with std 0.2, biases too, around 0, and those of norms around 1; outside training."""
    for module in encoder.modules():
        for name, parameter in module.named_parameters(recurse=False):
            around = float(isinstance(module, nn.LayerNorm) and name == "weight")
            nn.init.normal_(parameter, around, 0.2)
    return encoder.eval()


def copied(peer: Any, weights: Mapping[str, Tensor]) -> Any:
    """The peer with our weights; outside training."""
    state = peer.state_dict()
    for name, tensor in weights.items():
        assert state[name].shape == tensor.shape, name
        state[name].copy_(tensor)
    return peer.eval()


def of_layers(encoder: Any, prefix: str) -> dict[str, Tensor]:
    """Weights of the layers, whose names begin with ``prefix``."""
    found: dict[str, Tensor] = {}
    for index, block in enumerate(encoder.blocks):
        layer = f"{prefix}.{index}"
        found |= projections(f"{layer}.attention.self", block.attention.qkv)
        found |= of_modules(
            {
                f"{layer}.attention.output.dense": block.attention.out,
                f"{layer}.attention.output.LayerNorm": block.attention_norm,
                f"{layer}.intermediate.dense": block.feed_forward[0],
                f"{layer}.output.dense": block.feed_forward[3],
                f"{layer}.output.LayerNorm": block.feed_forward_norm,
            }
        )
    return found


def projections(attention: str, qkv: Any, suffix: str = "") -> dict[str, Tensor]:
    """Weights of query, key and value, which are one layer in ours."""
    found: dict[str, Tensor] = {}
    for name, weight, bias in zip(("query", "key", "value"), qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True):
        found |= {f"{attention}.{name}{suffix}.weight": weight, f"{attention}.{name}{suffix}.bias": bias}
    return found


def of_modules(modules: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights and biases."""
    parts = ("weight", "bias")
    return {f"{name}.{part}": getattr(module, part) for name, module in modules.items() for part in parts}
