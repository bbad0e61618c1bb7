"""Tier 2 in plain PyTorch: scan, linear attention and causal convolution, state in and state out."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seqmem.ops.backend import accumulation_dtype
from seqmem.ops.taps import DepthwiseTaps, TapProduct

CHUNK = 64


def scan(
    gate: Float[Tensor, "B T ..."], x: Float[Tensor, "B T ..."], initial: Float[Tensor, "B ..."] | None = None
) -> tuple[Float[Tensor, "B T ..."], Float[Tensor, "B ..."]]:
    """``h_t = gate_t * h_{t-1} + x_t``, by doubling: O(T log T) work, no division, so gates may be 0.

    Args:
        gate: broadcastable to x.
        initial: ``h_{-1}``; zero when absent.

    Returns:
        every ``h_t``, and the last.
    """
    gate = gate.expand_as(x)
    if initial is not None:
        x = torch.cat([x[:, :1] + gate[:, :1] * initial[:, None], x[:, 1:]], 1)
    step = 1
    while step < x.shape[1]:
        x = torch.cat([x[:, :step], x[:, step:] + gate[:, step:] * x[:, :-step]], 1)
        gate = torch.cat([gate[:, :step], gate[:, step:] * gate[:, :-step]], 1)
        step *= 2
    return x, x[:, -1]


def linear_attention(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B T H D"],
    v: Float[Tensor, "B T H E"],
    log_decay: Float[Tensor, "B T H"] | None = None,
    initial: Float[Tensor, "B H D E"] | None = None,
) -> tuple[Float[Tensor, "B T H E"], Float[Tensor, "B H D E"]]:
    """``S_t = exp(log_decay_t) * S_{t-1} + k_t v_t^T; out_t = q_t S_t``, unnormalised and unscaled, in chunks.

    Args:
        log_decay: natural log of the decay, at most 0; no decay when absent.
        initial: ``S_{-1}``; zero when absent.

    Returns:
        out in v's dtype, and the final state in float32 (float64 for float64).
    """
    dtype = accumulation_dtype(q.dtype)
    batch_size, _, num_heads, width = q.shape
    state = q.new_zeros(batch_size, num_heads, width, v.shape[3], dtype=dtype) if initial is None else initial.to(dtype)
    # Differences of long sums: float64 keeps what float32 would round away.
    decay = q.new_zeros(q.shape[:3], dtype=torch.float64) if log_decay is None else log_decay.double()
    outs = []
    for qc, kc, vc, dc in zip(
        *(t.to(dtype).transpose(1, 2).split(CHUNK, 2) for t in (q, k, v)),
        decay.transpose(1, 2).split(CHUNK, 2),
        strict=True,
    ):
        total = dc.cumsum(2)
        since = (total[..., :, None] - total[..., None, :]).tril().to(dtype)
        scores = (qc @ kc.mT) * since.exp().tril()
        left = (total[..., -1:] - total).to(dtype).exp()
        total = total.to(dtype)
        outs.append(scores @ vc + (qc * total.exp()[..., None]) @ state)
        state = total[..., -1].exp()[..., None, None] * state + (kc * left[..., None]).mT @ vc
    return torch.cat(outs, 2).transpose(1, 2).to(v.dtype), state


def causal_conv1d(
    x: Float[Tensor, "B T I"],
    weight: Float[Tensor, "O J K"],
    bias: Float[Tensor, "O"] | None = None,
    dilation: int = 1,
    groups: int = 1,
    state: Float[Tensor, "B P I"] | None = None,
) -> tuple[Float[Tensor, "B T O"], Float[Tensor, "B P I"]]:
    """Convolution over time whose output t sees inputs ``t - (K - 1) * dilation, ..., t``; tap K - 1 is the present.

    Args:
        weight: J = I / groups.
        state: the P = (K - 1) * dilation inputs before x; zero when absent.

    Returns:
        the output, and the last P inputs for the next call. Differentiable once.
    """
    past = (weight.shape[2] - 1) * dilation
    if state is None:
        state = x.new_zeros(x.shape[0], past, x.shape[2])
    if groups == 1:
        out = TapProduct.apply(x, state, weight, bias, dilation)
    elif weight.shape[1] == 1 and len(weight) == groups:
        out = DepthwiseTaps.apply(x, state, weight, dilation)
        out = out if bias is None else out + bias
    else:
        out = F.conv1d(torch.cat([state, x], 1).mT, weight, bias, dilation=dilation, groups=groups).mT
    return out, torch.cat([state[:, x.shape[1] :], x[:, max(0, x.shape[1] - past) :]], 1)
