"""Sinusoidal encodings."""

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoid(positions: Tensor, width: int) -> Float[Tensor, "N width"]:
    """``[sin | cos]`` of ``positions [N] / 10000^(2k / width)``, not interleaved (Dai et al. 2019).

    The result has the positions' dtype, which must be floating point.
    """
    frequencies = 10000 ** (-torch.arange(0, width, 2, dtype=positions.dtype, device=positions.device) / width)
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)[:, :width]
