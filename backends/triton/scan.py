"""Scan on tensors; its gradient is a scan from the end to the beginning."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.library import custom_op

from triton import cdiv

from . import launch
from .kernels.scan import scan as kernel

TIMES, CHANNELS, WARPS = 64, 64, 4


def scan(
    gate: Float[Tensor, "B T ..."], x: Float[Tensor, "B T ..."], initial: Float[Tensor, "B ..."] | None = None
) -> tuple[Float[Tensor, "B T ..."], Float[Tensor, "B ..."]]:
    """See :func:`seqmem.ops.recurrence.scan`."""
    initial = torch.zeros_like(x[:, 0]) if initial is None else initial
    states, final = run(gate.expand_as(x).flatten(2), x.flatten(2), initial.flatten(1), False)
    return states.view_as(x), final.view_as(initial)


@custom_op("seqmem_triton::scan", mutates_args=())
def run(gate: Tensor, x: Tensor, initial: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Of ``[B, T, W]``; backwards, ``h_t = gate_{t+1} h_{t+1} + x_t`` from ``initial`` beyond the end."""
    batch_size, length, width = x.shape
    gate, x, initial = gate.contiguous(), x.contiguous(), initial.contiguous()
    states, final = torch.empty_like(x), torch.empty_like(initial)
    grid = cdiv(width, CHANNELS), batch_size
    sizes = {"REVERSE": reverse, "TIMES": TIMES, "CHANNELS": CHANNELS}
    launch.queue(kernel, grid, (states, final, gate, x, initial, length, width), sizes, WARPS)
    return states, final


@run.register_fake
def _(gate, x, initial, reverse):
    return torch.empty_like(x), torch.empty_like(initial)


def _save(ctx, inputs, output):
    gate, _, initial, ctx.reverse = inputs
    ctx.save_for_backward(gate, initial, output[0])


def _backward(ctx, dstates, dfinal):
    gate, initial, states = ctx.saved_tensors
    if ctx.reverse:
        raise RuntimeError("a scan has no second derivative on backend triton; use --backend pytorch")
    dx, dfirst = run(gate, dstates, dfinal, True)
    before = torch.cat([initial[:, None], states[:, :-1]], 1)
    return dx * before, dx, gate[:, 0] * dfirst, None


run.register_autograd(_backward, setup_context=_save)
