"""A first-order recurrence along time, forwards or backwards."""

import triton
import triton.language as tl


@triton.jit
def after(first_gate, first, gate, x):
    """Two stretches of ``h -> gate * h + x``, one after the other, as one."""
    return first_gate * gate, gate * first + x


@triton.jit(do_not_specialize=["length"])
def scan(
    states, final, gate, x, initial, length, width, REVERSE: tl.constexpr, TIMES: tl.constexpr, CHANNELS: tl.constexpr
):
    """``h_t = gate_t * h_{t-1} + x_t`` of all ``[B, T, W]``, contiguous, for a block of channels of a row of the batch.

    In ``REVERSE``, ``h_t = gate_{t+1} * h_{t+1} + x_t``, where the gate beyond the last is 1.
    """
    row = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    exists = channel < width
    state = tl.load(initial + row * width + channel, mask=exists, other=0.0).to(tl.float32)
    turn = tl.arange(0, TIMES)
    for start in range(0, length, TIMES):
        time = start + turn
        if REVERSE:
            time = length - 1 - time
        inside = ((start + turn) < length)[:, None] & exists[None, :]
        where = (row * length + time)[:, None] * width + channel[None, :]
        values = tl.load(x + where, mask=inside, other=0.0).to(tl.float32)
        if REVERSE:
            gates = tl.load(gate + where + width, mask=inside & (time < length - 1)[:, None], other=1.0).to(tl.float32)
        else:
            gates = tl.load(gate + where, mask=inside, other=1.0).to(tl.float32)
        decay, sums = tl.associative_scan((gates, values), 0, after)
        sums += decay * state[None, :]
        tl.store(states + where, sums.to(states.dtype.element_ty), mask=inside)
        state = tl.sum(tl.where((turn == TIMES - 1)[:, None], sums, 0.0), 0)
    tl.store(final + row * width + channel, state.to(final.dtype.element_ty), mask=exists)
