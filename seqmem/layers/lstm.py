"""LSTMs under autocast, on every processor."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.ops.autocast import suspended

Vectors = tuple[Float[Tensor, "L B d"], Float[Tensor, "L B d"]]


def run_lstm(layers: nn.LSTM, x: Float[Tensor, "B T d"], before: Vectors) -> tuple[Float[Tensor, "B T d"], Vectors]:
    """``layers(x, before)``; in float32 under autocast on CPUs for which oneDNN has no LSTM of 16 bits and would fail.

    Args:
        before: hidden and cell vectors of each layer.
    """
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or _has_bfloat16():
        return layers(x, before)
    dtype = layers.all_weights[0][0].dtype
    with suspended(x):
        return layers(x.to(dtype), (before[0].to(dtype), before[1].to(dtype)))


def _has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
