"""Attention of one new token to the columns of its state, which lies wherever a table of addresses says.

A captured graph of launches always hands over the same pointers; it may go on with another state all the same.
"""

import triton
import triton.language as tl

from .scores import LOG2_E


@triton.jit
def put(address, x, room, num_columns, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Write row ``program_id(0)`` of ``x [B, W]`` into the first unused column of ``[B, num_columns, W]``."""
    row, width = tl.program_id(0), tl.arange(0, PADDED)
    start = tl.load(address).to(x.dtype)
    where = (row.to(tl.int64) * num_columns + num_columns - tl.load(room)) * WIDTH + width
    tl.store(start + where, tl.load(x + row * WIDTH + width, mask=width < WIDTH), mask=width < WIDTH)


@triton.jit
def attend_one(parts, stats, projected, table, room, distances, sizes, form: tl.constexpr):
    """What a head sees of a part of the columns; the first part has the token itself, and puts it into the state.

    ``parts [B * H, SPLITS, D]`` are weighted values, ``stats [B * H, SPLITS, 2]`` the largest score and the sum of
    weights. ``projected`` is ``[B, 3, H, D]``, the state ``[B, num_columns, 2, H, D]``, its last columns unused.
    """
    head_at, split = tl.program_id(0), tl.program_id(1)
    batch, head = head_at // sizes.num_heads, head_at % sizes.num_heads
    row, width = sizes.num_heads * form.width, tl.arange(0, form.padded_width)
    exists = width < form.width
    own = projected + batch * 3 * row + head * form.width + width
    q = tl.load(own, mask=exists, other=0.0).to(tl.float32)
    k, v = tl.load(own + row, mask=exists, other=0.0), tl.load(own + 2 * row, mask=exists, other=0.0)
    qr = q
    if distances is not None:
        at = head * form.width + width
        qr = q + tl.load(distances.v + at, mask=exists, other=0.0).to(tl.float32)
        q += tl.load(distances.u + at, mask=exists, other=0.0).to(tl.float32)

    column = sizes.num_columns - tl.load(room)
    state = tl.load(table).to(projected.dtype)
    rows = state + batch.to(tl.int64) * sizes.num_columns * 2 * row + head * form.width
    if split == 0:
        new = rows + column * 2 * row + width
        tl.store(new, k, mask=exists)
        tl.store(new + row, v, mask=exists)

    score = tl.sum(q * k.to(tl.float32), 0)
    if distances is not None:
        score += tl.sum(qr * load_distances(distances, sizes, head, tl.arange(0, 1), width, form), 1).sum(0)
    largest = tl.where(split == 0, score * (sizes.scale * LOG2_E), float("-inf"))
    weights = tl.where(split == 0, 1.0, 0.0)
    values = tl.where(split == 0, v.to(tl.float32), 0.0)

    first = tl.maximum(split * form.part, column + 1 - sizes.num_keys)
    end = tl.minimum((split + 1) * form.part, column)
    for start in range(split * form.part, end, form.keys):
        key = start + tl.arange(0, form.keys)
        sees = (key >= first) & (key < end)
        where = rows + key[:, None] * (2 * row) + width[None, :]
        mask = sees[:, None] & exists[None, :]
        scores = tl.sum(q[None, :] * tl.load(where, mask=mask, other=0.0).to(tl.float32), 1)
        if distances is not None:
            scores += tl.sum(qr[None, :] * load_distances(distances, sizes, head, column - key, width, form), 1)
        if form.restricted:
            is_on = tl.load(table + 1).to(tl.pointer_type(tl.int8)) + batch.to(tl.int64) * sizes.num_columns
            sees = sees & (tl.load(is_on + key, mask=sees, other=0) != 0)
        scores = tl.where(sees, scores * (sizes.scale * LOG2_E), float("-inf"))
        before, largest = largest, tl.maximum(largest, tl.max(scores, 0))
        base = tl.where(largest == float("-inf"), 0.0, largest)
        shrink, probs = tl.exp2(before - base), tl.exp2(scores - base)
        weights = weights * shrink + tl.sum(probs, 0)
        seen = tl.load(where + row, mask=mask, other=0.0).to(tl.float32)
        values = values * shrink + tl.sum(probs[:, None] * seen, 0)

    part = head_at * tl.num_programs(1) + split
    tl.store(parts + part * form.width + width, values, mask=exists)
    tl.store(stats + 2 * part, largest)
    tl.store(stats + 2 * part + 1, weights)


@triton.jit
def load_distances(distances, sizes, head, distance, width, form: tl.constexpr):
    """Relative positions at some distances, ``[N, PADDED]``; ``r`` has the farthest first."""
    index = sizes.num_distances - 1 - distance
    where = (index[:, None] * sizes.num_heads + head) * form.width + width[None, :]
    mask = ((index >= 0) & (index < sizes.num_distances))[:, None] & (width < form.width)[None, :]
    return tl.load(distances.r + where, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def merge_parts(out, parts, stats, SPLITS: tl.constexpr, PADDED_SPLITS: tl.constexpr, form: tl.constexpr):
    """``out [B, H * D]`` of what :func:`attend_one` saw part by part."""
    split, width = tl.arange(0, PADDED_SPLITS), tl.arange(0, form.padded_width)
    part = tl.program_id(0) * SPLITS + split
    largest = tl.load(stats + 2 * part, mask=split < SPLITS, other=float("-inf"))
    weights = tl.load(stats + 2 * part + 1, mask=split < SPLITS, other=0.0)
    shrink = tl.exp2(largest - tl.max(largest, 0))
    mask = (split < SPLITS)[:, None] & (width < form.width)[None, :]
    values = tl.load(parts + part[:, None] * form.width + width[None, :], mask=mask, other=0.0)
    merged = tl.sum(values * shrink[:, None], 0) / tl.sum(weights * shrink, 0)
    tl.store(out + tl.program_id(0) * form.width + width, merged.to(out.dtype.element_ty), mask=width < form.width)
