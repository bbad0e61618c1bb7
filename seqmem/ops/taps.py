"""Causal convolution in ``[B, T, C]``: one product of all taps side by side, or tap by tap where it is depth-wise."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class TapProduct(torch.autograd.Function):
    """``TapProduct.apply(x, state, weight, bias, dilation)``, as :func:`seqmem.ops.recurrence.causal_conv1d` has them.

    Autograd's own way through slices and joins would write every input's gradient several times over.
    """

    @staticmethod
    def forward(
        ctx,
        x: Float[Tensor, "B T I"],
        state: Float[Tensor, "B P I"],
        weight: Float[Tensor, "O I K"],
        bias: Float[Tensor, "O"] | None,
        dilation: int,
    ) -> Float[Tensor, "B T O"]:
        kernel_size = weight.shape[2]
        taps = x.new_empty(*x.shape[:2], kernel_size, x.shape[2])
        for k, shift, early in _taps(x, kernel_size, dilation):
            taps[:, early:, k] = x[:, : x.shape[1] - early]
            begin = state.shape[1] - shift
            taps[:, :early, k] = state[:, begin : begin + early]
        matrix = weight.transpose(1, 2).flatten(1)
        ctx.save_for_backward(taps, matrix)
        ctx.past, ctx.dilation = state.shape[1], dilation
        rows = taps.view(-1, matrix.shape[1])
        out = rows @ matrix.t() if bias is None else torch.addmm(bias, rows, matrix.t())
        return out.view(*x.shape[:2], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        taps, matrix = ctx.saved_tensors
        needs_x, needs_state, needs_weight, needs_bias, _ = ctx.needs_input_grad
        rows = dout.reshape(-1, matrix.shape[0])
        dx = dstate = dweight = dbias = None
        if needs_x or needs_state:
            dtaps = (rows @ matrix).view(taps.shape)
            dx, dstate = _to_times(dtaps, ctx.past, ctx.dilation)
        if needs_weight:
            dweight = (rows.t() @ taps.view(-1, matrix.shape[1])).view(-1, *taps.shape[2:]).transpose(1, 2)
        if needs_bias:
            dbias = rows.sum(0)
        return dx, dstate if needs_state else None, dweight, dbias, None


def _to_times(dtaps: Float[Tensor, "B T K I"], past: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Gradients of x ``[B, T, I]`` and of the state ``[B, P, I]`` from those of all taps."""
    kernel_size = dtaps.shape[2]
    dx = dtaps[:, :, kernel_size - 1].clone()
    dstate = dtaps.new_zeros(dtaps.shape[0], past, dtaps.shape[3])
    for k, shift, early in _taps(dx, kernel_size - 1, dilation, first=dilation):
        dx[:, : dx.shape[1] - early] += dtaps[:, early:, k]
        dstate[:, past - shift : past - shift + early] += dtaps[:, :early, k]
    return dx, dstate


def _taps(x: Tensor, num_taps: int, dilation: int, first: int = 0) -> Iterator[tuple[int, int, int]]:
    """Index, distance and number of outputs of a call that see the state, by tap; the last is at distance ``first``."""
    for k in range(num_taps):
        shift = (num_taps - 1 - k) * dilation + first
        yield k, shift, min(shift, x.shape[1])


class DepthwiseTaps(torch.autograd.Function):
    """``DepthwiseTaps.apply(x, state, weight, dilation)``: a kernel ``[C, 1, K]`` of its own for every channel."""

    @staticmethod
    def forward(
        ctx, x: Float[Tensor, "B T C"], state: Float[Tensor, "B P C"], weight: Float[Tensor, "C 1 K"], dilation: int
    ) -> Float[Tensor, "B T C"]:
        with_past, taps = torch.cat([state, x], 1), weight[:, 0].t().contiguous()
        ctx.save_for_backward(with_past, taps)
        ctx.dilation = dilation
        out = torch.zeros_like(x)
        for tap, seen in zip(taps, _seen(with_past, taps, dilation), strict=True):
            out.addcmul_(seen, tap)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        with_past, taps = ctx.saved_tensors
        dboth = torch.zeros_like(with_past)
        for tap, seen in zip(taps, _seen(dboth, taps, ctx.dilation), strict=True):
            seen.addcmul_(dout, tap)
        dstate, dx = dboth.split((dboth.shape[1] - dout.shape[1], dout.shape[1]), 1)
        dtaps = [(seen * dout).sum((0, 1)) for seen in _seen(with_past, taps, ctx.dilation)]
        return dx, dstate, torch.stack(dtaps, 1)[:, None], None


def _seen(with_past: Float[Tensor, "B S C"], taps: Float[Tensor, "K C"], dilation: int) -> Iterator[Tensor]:
    """What each tap sees of a sequence with its past, ``[B, T, C]``."""
    length = with_past.shape[1] - (len(taps) - 1) * dilation
    for k in range(len(taps)):
        yield with_past[:, k * dilation : k * dilation + length]
