"""A tile of queries and keys: where these are, and which of them see each other.

What a tile holds is ``[M, N]`` where a program owns queries, and ``[N, M]`` where it owns keys (``KEYS_FIRST``).
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Side(NamedTuple):
    """Queries or keys of a tile: positions ``first + offset`` in their tensor, of 32 bits, and whether they exist.

    Rows are found from ``first`` on in 64 bits, and from there in 32.
    """

    first: Any
    offset: Any
    exists: Any


@triton.jit
def queries_at(place, start, form: tl.constexpr):
    """Queries ``start .. start + M - 1`` of a line."""
    turn = tl.arange(0, form.queries)
    exists = (start + turn >= 0) & (start + turn < place.num_queries)
    return Side(place.first_query + start * form.dilation, turn * form.dilation, exists)


@triton.jit
def keys_at(operands, place, start, form: tl.constexpr):
    """Keys ``start .. start + N - 1`` of a line."""
    turn = tl.arange(0, form.keys)
    exists = (start + turn >= 0) & (start + turn < place.num_keys)
    if form.pattern == "gather":
        names = operands.names
        where = place.batch.to(tl.int64) * names.batch + place.head.to(tl.int64) * names.head + start + turn
        exists = exists & tl.load(names.is_named + where, mask=exists, other=0).to(tl.int1)
        return Side(place.first_key, tl.load(names.position + where, mask=exists, other=0), exists)
    else:
        return Side(place.first_key + start * form.dilation, turn * form.dilation, exists)


@triton.jit
def positions_of(side):
    """Where rows are in their tensor."""
    return side.first + side.offset


@triton.jit
def of_queries(x, KEYS_FIRST: tl.constexpr):
    """``x [M]`` along the queries of a tile."""
    if KEYS_FIRST:
        return x[None, :]
    else:
        return x[:, None]


@triton.jit
def of_keys(x, KEYS_FIRST: tl.constexpr):
    """``x [N]`` along the keys of a tile."""
    if KEYS_FIRST:
        return x[:, None]
    else:
        return x[None, :]


@triton.jit
def sees(operands, sizes, place, query, key, form: tl.constexpr, KEYS_FIRST: tl.constexpr):
    """Which queries see which keys."""
    stands_at = of_queries(positions_of(query), KEYS_FIRST) + (sizes.num_keys - sizes.num_queries)
    key_at = of_keys(positions_of(key), KEYS_FIRST)
    seen = of_queries(query.exists, KEYS_FIRST) & of_keys(is_on(operands, sizes, place, key), KEYS_FIRST)
    if form.pattern == "band":
        distance = key_at - stands_at
        seen = seen & (distance >= -sizes.left * form.dilation) & (distance <= sizes.right * form.dilation)
    elif form.causal:
        seen = seen & (key_at <= stands_at)
    return seen


@triton.jit
def is_on(operands, sizes, place, key):
    """Which keys exist and take part."""
    if operands.valid is not None:
        where = operands.valid + place.batch.to(tl.int64) * sizes.num_keys + positions_of(key)
        return tl.load(where, mask=key.exists, other=0).to(tl.int1)
    else:
        return key.exists


@triton.jit
def columns_of(sizes, place, query, key, start_key, form: tl.constexpr, KEYS_FIRST: tl.constexpr):
    """The column of a bias that belongs to each score."""
    if form.pattern == "band":
        past = sizes.num_keys - sizes.num_queries
        distance = of_keys(positions_of(key), KEYS_FIRST) - of_queries(positions_of(query), KEYS_FIRST) - past
        return distance // form.dilation + sizes.left
    else:
        return of_keys(start_key + tl.arange(0, form.keys), KEYS_FIRST)
