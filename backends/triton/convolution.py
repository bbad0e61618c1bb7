"""Causal convolution on tensors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.library import custom_op

from triton import cdiv

from . import launch
from .kernels.convolution import by_channel, by_product

TIMES, CHANNELS, DEPTH, WARPS = 64, 64, 32, 4
FEW_INPUTS = 8
"""Of a channel, up to which multiplying and adding beats a product."""


@dataclass(frozen=True)
class ConvolutionForm:
    """The constants of the kernels: inputs a channel, taps, and what is computed at a time."""

    inputs: int
    taps: int
    precision: str
    times: int = TIMES
    channels: int = CHANNELS
    depth: int = DEPTH


def causal_conv1d(
    x: Float[Tensor, "B T I"],
    weight: Float[Tensor, "O J K"],
    bias: Float[Tensor, "O"] | None = None,
    dilation: int = 1,
    groups: int = 1,
    state: Float[Tensor, "B P I"] | None = None,
) -> tuple[Float[Tensor, "B T O"], Float[Tensor, "B P I"]]:
    """See :func:`seqmem.ops.recurrence.causal_conv1d`; differentiable once."""
    past = (weight.shape[2] - 1) * dilation
    state = x.new_zeros(x.shape[0], past, x.shape[2]) if state is None else state
    inputs = torch.cat([state, x], 1)
    return run(inputs, weight, bias, dilation, groups), inputs[:, inputs.shape[1] - past :]


@custom_op("seqmem_triton::conv1d", mutates_args=())
def run(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, groups: int) -> Tensor:
    """Every output whose inputs are all in ``x [B, P + T, I]``."""
    length = x.shape[1] - (weight.shape[2] - 1) * dilation
    return _convolved(x, weight, bias, length, dilation, groups)


@run.register_fake
def _(x, weight, bias, dilation, groups):
    return x.new_empty(x.shape[0], x.shape[1] - (weight.shape[2] - 1) * dilation, weight.shape[0])


@custom_op("seqmem_triton::conv1d_backward", mutates_args=())
def backward(dout: Tensor, x: Tensor, weight: Tensor, dilation: int, groups: int) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weight."""
    num_outputs, num_inputs, taps = weight.shape
    by_group = weight.view(groups, -1, num_inputs, taps).transpose(1, 2).reshape(-1, num_outputs // groups, taps)
    dx = _convolved(dout, by_group, None, x.shape[1], -dilation, groups)
    length = dout.shape[1]
    seen = [x[:, tap * dilation : tap * dilation + length].unflatten(2, (groups, -1)) for tap in range(taps)]
    of_groups = dout.unflatten(2, (groups, -1))
    dweight = torch.stack([torch.einsum("btgo,btgj->goj", of_groups, part) for part in seen], -1)
    return dx, dweight.reshape(weight.shape)


@backward.register_fake
def _(dout, x, weight, dilation, groups):
    return torch.empty_like(x), torch.empty_like(weight)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, length: int, step: int, groups: int) -> Tensor:
    num_channels, inputs, taps = weight.shape
    outputs = num_channels // groups
    out = x.new_empty(x.shape[0], length, num_channels)
    few = inputs <= FEW_INPUTS
    blocks = cdiv(num_channels, CHANNELS) if few else groups * cdiv(outputs, CHANNELS)
    operands = (out, x.contiguous(), weight.contiguous(), bias)
    sizes = (length, x.shape[1], num_channels, x.shape[2], outputs, step)
    form = ConvolutionForm(inputs, taps, launch.precision())
    grid = cdiv(length, TIMES), blocks, x.shape[0]
    launch.queue(by_channel if few else by_product, grid, (*operands, *sizes), {"form": form}, WARPS)
    return out


def _save(ctx, inputs, output):
    x, weight, bias, ctx.dilation, ctx.groups = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx, dout):
    dx, dweight = backward(dout, *ctx.saved_tensors, ctx.dilation, ctx.groups)
    return dx, dweight, dout.sum((0, 1)) if ctx.has_bias else None, None, None


run.register_autograd(_backward, setup_context=_save)
