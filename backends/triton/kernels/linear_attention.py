"""Linear attention in chunks, the state carried from one to the next, forwards or backwards in time."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from .rows import load, load_columns, load_numbers, store_columns
from .tile import Side


class Head(NamedTuple):
    batch: Any
    head: Any


@triton.jit
def entries_of(value, form: tl.constexpr):
    """Where the entries of some columns of a state ``[D, E]`` lie in it, and which of them exist."""
    width = tl.arange(0, form.padded_width)
    exists = (width < form.width)[:, None] & (value < form.value_width)[None, :]
    return width[:, None] * form.value_width + value[None, :], exists


@triton.jit(do_not_specialize=["length", "num_heads"])
def linear_attention(out, final, states, q, k, v, log_decay, initial, length, num_heads, form: tl.constexpr):
    """``S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T; out_t = q_t S_t`` of a head, for some columns of v.

    In ``form.reverse`` time runs backwards, and a position has the decay of the one after it; the last has none.
    ``initial`` and ``final`` are ``[B, H, D, E]``, contiguous float32; ``states [B, H, chunks, D, E]``, or None, will
    hold the state before each chunk.
    """
    head = Head(tl.program_id(1) // num_heads, tl.program_id(1) % num_heads)
    turn = tl.arange(0, form.times)
    value = tl.program_id(0) * form.values + tl.arange(0, form.values)
    entries, in_widths = entries_of(value, form)
    size = form.width * form.value_width
    in_states = tl.program_id(1).to(tl.int64) * size + entries
    state = tl.load(initial + in_states, mask=in_widths, other=0.0)
    for start in range(0, length, form.times):
        if states is not None:
            chunk = tl.program_id(1).to(tl.int64) * tl.cdiv(length, form.times) + start // form.times
            tl.store(states + chunk * size + entries, state, mask=in_widths)
        time = start + turn
        now, decaying = Side(start, turn, time < length), Side(start, turn, time < length)
        if form.reverse:
            now = Side(length - 1 - start, -turn, time < length)
            decaying = Side(length - start, -turn, (time < length) & (time > 0))
        total = tl.cumsum(load_numbers(log_decay, length, num_heads, head, decaying), 0)
        whole = tl.sum(tl.where(turn == form.times - 1, total, 0.0), 0)
        queries = load(q, head, now, form.width, form.padded_width)
        keys = load(k, head, now, form.width, form.padded_width)
        values = load_columns(v, head, now, value, form.value_width)
        since = tl.where(turn[:, None] >= turn[None, :], total[:, None] - total[None, :], float("-inf"))
        weights = tl.dot(queries, tl.trans(keys), input_precision=form.precision) * tl.exp(since)
        decayed = queries.to(tl.float32) * tl.exp(total)[:, None]
        sums = tl.dot(decayed, state, input_precision=form.precision)
        sums = tl.dot(weights, values.to(tl.float32), sums, input_precision=form.precision)
        store_columns(out, head, now, value, sums, form.value_width)
        left = keys.to(tl.float32) * tl.exp(whole - total)[:, None]
        state = state * tl.exp(whole)
        state = tl.dot(tl.trans(left), values.to(tl.float32), state, input_precision=form.precision)
    tl.store(final + in_states, state, mask=in_widths)


@triton.jit(do_not_specialize=["length", "num_heads"])
def decay_gradient(dlog_decay, q, k, v, dout, log_decay, states, dfinal, length, num_heads, form: tl.constexpr):
    """What some columns of v and dout say about the gradient of every log decay.

    A log decay has a share in each pair of a key before it and a query at or after it. Pairs are counted by where their
    two ends lie, in a chunk or beyond it, so that nothing is subtracted that would cancel.

    Args:
        dlog_decay: ``[blocks of columns, B, T, H]``, contiguous.
        states: ``[B, H, chunks, E, D]``, transposed, before each chunk.
        dfinal: ``[B, H, D, E]``.
    """
    head = Head(tl.program_id(1) // num_heads, tl.program_id(1) % num_heads)
    turn = tl.arange(0, form.times)
    value = tl.program_id(0) * form.values + tl.arange(0, form.values)
    entries, in_widths = entries_of(value, form)
    width = tl.arange(0, form.padded_width)
    transposed = value[None, :] * form.width + width[:, None]
    size = form.width * form.value_width
    later = tl.load(dfinal + tl.program_id(1).to(tl.int64) * size + entries, mask=in_widths, other=0.0)
    num_chunks = tl.cdiv(length, form.times)
    for back in range(0, num_chunks):
        chunk = num_chunks - 1 - back
        now = Side(chunk * form.times, turn, chunk * form.times + turn < length)
        place = tl.program_id(1).to(tl.int64) * num_chunks + chunk
        earlier = tl.load(states + place * size + transposed, mask=in_widths, other=0.0)
        total = tl.cumsum(load_numbers(log_decay, length, num_heads, head, now), 0)
        whole = tl.sum(tl.where(turn == form.times - 1, total, 0.0), 0)
        queries = load(q, head, now, form.width, form.padded_width).to(tl.float32)
        keys = load(k, head, now, form.width, form.padded_width).to(tl.float32)
        values = load_columns(v, head, now, value, form.value_width).to(tl.float32)
        wanted = load_columns(dout, head, now, value, form.value_width).to(tl.float32)
        since = tl.where(turn[:, None] > turn[None, :], total[:, None] - total[None, :], float("-inf"))
        pairs = tl.dot(queries, tl.trans(keys), input_precision=form.precision)
        pairs *= tl.dot(wanted, tl.trans(values), input_precision=form.precision) * tl.exp(since)
        before = (turn[:, None] < turn[None, :]).to(tl.float32)
        from_keys = tl.dot(pairs, before, input_precision=form.precision)
        decayed = queries * tl.exp(total)[:, None]
        of_query = tl.sum(tl.dot(decayed, earlier, input_precision=form.precision) * wanted, 1)
        left = keys * tl.exp(whole - total)[:, None]
        of_key = tl.sum(tl.dot(left, later, input_precision=form.precision) * values, 1)
        at_or_after = turn[:, None] >= turn[None, :]
        inside = tl.sum(tl.where(at_or_after, from_keys + of_query[:, None], 0.0), 0)
        gradient = inside + tl.sum(of_key[:, None] * before, 0) + tl.exp(whole) * tl.sum(tl.sum(earlier * later, 1), 0)
        row = (
            (tl.program_id(0) * (tl.num_programs(1) // num_heads) + head.batch).to(tl.int64) * length
            + chunk * form.times
            + turn
        )
        tl.store(dlog_decay + row * num_heads + head.head, gradient, mask=now.exists)
        later = later * tl.exp(whole) + tl.dot(tl.trans(decayed), wanted, input_precision=form.precision)
