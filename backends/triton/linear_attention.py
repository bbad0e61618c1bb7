"""Linear attention on tensors; the gradients of all its operands are linear attentions themselves."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.library import custom_op

from triton import cdiv

from . import launch
from .form import padded
from .kernels.linear_attention import decay_gradient
from .kernels.linear_attention import linear_attention as kernel
from .operands import Rows, rows

TIMES, VALUES, WARPS = 32, 32, 4


@dataclass(frozen=True)
class LinearForm:
    """The constants of the kernel: widths D and E, positions and columns of v that are computed at a time."""

    width: int
    value_width: int
    times: int
    values: int
    precision: str
    reverse: bool

    @property
    def padded_width(self) -> int:
        return padded(self.width)


def linear_attention(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B T H D"],
    v: Float[Tensor, "B T H E"],
    log_decay: Float[Tensor, "B T H"] | None = None,
    initial: Float[Tensor, "B H D E"] | None = None,
) -> tuple[Float[Tensor, "B T H E"], Float[Tensor, "B H D E"]]:
    """See :func:`seqmem.ops.recurrence.linear_attention`."""
    shape = (q.shape[0], q.shape[2], q.shape[3], v.shape[3])
    log_decay = q.new_zeros(q.shape[:3], dtype=torch.float32) if log_decay is None else log_decay.float()
    initial = q.new_zeros(shape, dtype=torch.float32) if initial is None else initial.float()
    out, final, _ = run(q, k, v, log_decay, initial, False, False)
    return out, final


@custom_op("seqmem_triton::linear_attention", mutates_args=())
def run(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, initial: Tensor, reverse: bool, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Forwards, or backwards: ``S_t = exp(log_decay_{t+1}) S_{t+1} + k_t v_t^T``, ``initial`` beyond the end.

    Returns:
        outputs, the last state, and if they are to be kept the states before each chunk ``[B, H, chunks, D, E]``.
    """
    batch_size, length, num_heads, width = q.shape
    out, final = v.new_empty(v.shape), initial.new_empty(initial.shape)
    states = initial.new_empty(batch_size, num_heads, cdiv(length, TIMES) if keep else 0, width, v.shape[3])
    form = LinearForm(width, v.shape[3], TIMES, VALUES, launch.precision(), reverse)
    operands = (Rows.of(rows(q)), Rows.of(rows(k)), Rows.of(rows(v)), log_decay.contiguous(), initial.contiguous())
    grid = cdiv(v.shape[3], VALUES), batch_size * num_heads
    results = (Rows.of(out), final, states if keep else None)
    launch.queue(kernel, grid, (*results, *operands, length, num_heads), {"form": form}, WARPS)
    return out, final, states


@run.register_fake
def _(q, k, v, log_decay, initial, reverse, keep):
    chunks = (q.shape[1] + TIMES - 1) // TIMES if keep else 0
    states = initial.new_empty(q.shape[0], q.shape[2], chunks, q.shape[3], v.shape[3])
    return v.new_empty(v.shape), initial.new_empty(initial.shape), states


@custom_op("seqmem_triton::decay_gradient", mutates_args=())
def dlog_decay(
    q: Tensor, k: Tensor, v: Tensor, dout: Tensor, log_decay: Tensor, states: Tensor, dfinal: Tensor
) -> Tensor:
    """The gradient of ``log_decay [B, T, H]``; ``states [B, H, chunks, E, D]`` are transposed."""
    batch_size, length, num_heads, width = q.shape
    blocks = cdiv(v.shape[3], VALUES)
    parts = log_decay.new_empty(blocks, batch_size, length, num_heads)
    form = LinearForm(width, v.shape[3], TIMES, VALUES, launch.precision(), False)
    operands = (Rows.of(rows(q)), Rows.of(rows(k)), Rows.of(rows(v)), Rows.of(rows(dout)), log_decay.contiguous())
    arguments = (parts, *operands, states, dfinal.contiguous(), length, num_heads)
    launch.queue(decay_gradient, (blocks, batch_size * num_heads), arguments, {"form": form}, WARPS)
    return parts.sum(0)


@dlog_decay.register_fake
def _(q, k, v, dout, log_decay, states, dfinal):
    return log_decay.new_empty(log_decay.shape)


def _save(ctx, inputs, output):
    *operands, ctx.reverse, _ = inputs
    ctx.save_for_backward(*operands)


def _backward(ctx, dout, dfinal, dstates):
    q, k, v, log_decay, initial = ctx.saved_tensors
    if ctx.reverse:
        raise RuntimeError("linear attention has no second derivative on backend triton; use --backend pytorch")
    dout = dout.to(v.dtype)
    dq, _, states = run(dout, v, k, log_decay, initial.mT, False, ctx.needs_input_grad[3])
    dk, _, _ = run(v, dout, q, log_decay, dfinal.mT, True, False)
    dv, dfirst, _ = run(k, q, dout, log_decay, dfinal, True, False)
    ddecay = dlog_decay(q, k, v, dout, log_decay, states, dfinal) if ctx.needs_input_grad[3] else None
    return dq, dk, dv, ddecay, dfirst * log_decay[:, 0, :, None, None].exp(), None, None


run.register_autograd(_backward, setup_context=_save)
