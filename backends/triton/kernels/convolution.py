"""Convolution over time: ``out[t, o] = bias[o] + sum_jk weight[o, j, k] * x[t + k * step, first(o) + j]``.

Channel o reads J channels from ``o // outputs * J`` on, where ``outputs`` are a group's. Steps may be negative, and x
is 0 outside its times.
"""

import triton
import triton.language as tl


@triton.jit
def start_of(bias, channel, exists, form: tl.constexpr):
    """The sums to begin with, ``[times, channels]``."""
    total = tl.full([form.times, form.channels], 0.0, tl.float32)
    if bias is not None:
        total += tl.load(bias + channel, mask=exists, other=0.0).to(tl.float32)[None, :]
    return total


@triton.jit
def finish(out, total, row, time, channel, length, num_channels):
    """Write the sums of a row of the batch."""
    where = (row.to(tl.int64) * length + time)[:, None] * num_channels + channel[None, :]
    inside = (time < length)[:, None] & (channel < num_channels)[None, :]
    tl.store(out + where, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["length", "x_length", "step"])
def by_channel(out, x, weight, bias, length, x_length, num_channels, x_channels, outputs, step, form: tl.constexpr):
    """With few inputs a channel: multiply and add."""
    time = tl.program_id(0) * form.times + tl.arange(0, form.times)
    channel = tl.program_id(1) * form.channels + tl.arange(0, form.channels)
    exists = channel < num_channels
    total = start_of(bias, channel, exists, form)
    rows = x + tl.program_id(2).to(tl.int64) * x_length * x_channels
    for tap in range(form.taps):
        source = time + tap * step
        inside = ((source >= 0) & (source < x_length))[:, None] & exists[None, :]
        for j in range(form.inputs):
            read = source.to(tl.int64)[:, None] * x_channels + (channel // outputs * form.inputs + j)[None, :]
            weights = tl.load(weight + (channel * form.inputs + j) * form.taps + tap, mask=exists, other=0.0)
            values = tl.load(rows + read, mask=inside, other=0.0)
            total += values.to(tl.float32) * weights.to(tl.float32)[None, :]
    finish(out, total, tl.program_id(2), time, channel, length, num_channels)


@triton.jit(do_not_specialize=["length", "x_length", "step"])
def by_product(out, x, weight, bias, length, x_length, num_channels, x_channels, outputs, step, form: tl.constexpr):
    """With many inputs a channel: a product for each tap. A block of channels lies within one group."""
    blocks = tl.cdiv(outputs, form.channels)
    group, block = tl.program_id(1) // blocks, tl.program_id(1) % blocks
    time = tl.program_id(0) * form.times + tl.arange(0, form.times)
    in_group = block * form.channels + tl.arange(0, form.channels)
    exists, channel = in_group < outputs, group * outputs + in_group
    total = start_of(bias, channel, exists, form)
    rows = x + tl.program_id(2).to(tl.int64) * x_length * x_channels + group * form.inputs
    for tap in range(form.taps):
        source = time + tap * step
        inside = (source >= 0) & (source < x_length)
        for first in range(0, form.inputs, form.depth):
            j = first + tl.arange(0, form.depth)
            is_input = j < form.inputs
            read = source.to(tl.int64)[:, None] * x_channels + j[None, :]
            values = tl.load(rows + read, mask=inside[:, None] & is_input[None, :], other=0.0)
            place = (channel[None, :] * form.inputs + j[:, None]) * form.taps + tap
            weights = tl.load(weight + place, mask=is_input[:, None] & exists[None, :], other=0.0)
            total = tl.dot(values, weights.to(values.dtype), total, input_precision=form.precision)
    channel = tl.where(exists, channel, num_channels)
    finish(out, total, tl.program_id(2), time, channel, length, num_channels)
