"""The three band kernels: scores, weighted sums, and their transpose."""

import triton
import triton.language as tl

from .place import place_of, span_of, taken
from .rows import load, start_of, store
from .scores import product
from .tile import keys_at, queries_at


@triton.jit
def column_in(place, sizes, start_query, start_key, form: tl.constexpr):
    """The column in which each query of a tile has each key, ``[M, N]``; it may be outside the band."""
    distance = tl.arange(0, form.keys)[None, :] - tl.arange(0, form.queries)[:, None]
    return distance + (start_key - start_query - place.past + sizes.left)


@triton.jit
def load_weights(p, place, sizes, query, key, start_query, start_key, form: tl.constexpr):
    """The weights of a tile, ``[M, N]``; 0 outside the band and the keys."""
    column = column_in(place, sizes, start_query, start_key, form)
    exists = query.exists[:, None] & key.exists[None, :] & (column >= 0) & (column < sizes.num_columns)
    where = start_of(p, place, query) + ((query.offset * p.row)[:, None] + column)
    return tl.load(where, mask=exists, other=0.0)


@triton.jit
def band_qk(p, q, k, sizes, form: tl.constexpr):
    """The scores that a block of queries has with a tile of keys, 0 for keys that do not exist."""
    sizes = taken(sizes)
    place = place_of(sizes, tl.program_id(0) % form.dilation, tl.program_id(1), form)
    start_query = tl.program_id(0) // form.dilation * form.queries
    start_key = start_query + place.past - sizes.left + tl.program_id(2) * form.keys
    query, key = queries_at(place, start_query, form), keys_at(None, place, start_key, form)
    scores = product(
        load(q, place, query, form.width, form.padded_width), load(k, place, key, form.width, form.padded_width), form
    )
    column = column_in(place, sizes, start_query, start_key, form)
    exists = query.exists[:, None] & (column >= 0) & (column < sizes.num_columns)
    tl.store(start_of(p, place, query) + ((query.offset * p.row)[:, None] + column), scores, mask=exists)


@triton.jit
def band_pv(out, p, v, sizes, form: tl.constexpr):
    """The values of a block of queries: sums over the keys that they see."""
    sizes = taken(sizes)
    place = place_of(sizes, tl.program_id(0) % form.dilation, tl.program_id(1), form)
    start_query = tl.program_id(0) // form.dilation * form.queries
    query = queries_at(place, start_query, form)
    total = tl.full([form.queries, form.padded_value_width], 0.0, tl.float32)
    span = span_of(start_query, form.queries, place.past, sizes.left, sizes.right, place.num_keys, form.keys, form)
    for start_key in range(span.begin, span.end, form.keys):
        key = keys_at(None, place, start_key, form)
        weights = load_weights(p, place, sizes, query, key, start_query, start_key, form)
        values = load(v, place, key, form.value_width, form.padded_value_width)
        total = tl.dot(weights.to(values.dtype), values, total, input_precision=form.precision)
    store(out, place, query, total, form.value_width, form.padded_value_width)


@triton.jit
def band_pv_t(out, p, g, sizes, form: tl.constexpr):
    """What a block of keys collects from the queries that see it."""
    sizes = taken(sizes)
    place = place_of(sizes, tl.program_id(0) % form.dilation, tl.program_id(1), form)
    start_key = tl.program_id(0) // form.dilation * form.keys
    key = keys_at(None, place, start_key, form)
    total = tl.full([form.keys, form.padded_value_width], 0.0, tl.float32)
    span = span_of(start_key, form.keys, -place.past, sizes.right, sizes.left, place.num_queries, form.queries, form)
    for start_query in range(span.begin, span.end, form.queries):
        query = queries_at(place, start_query, form)
        weights = load_weights(p, place, sizes, query, key, start_query, start_key, form)
        rows = load(g, place, query, form.value_width, form.padded_value_width)
        total = tl.dot(tl.trans(weights).to(rows.dtype), rows, total, input_precision=form.precision)
    store(out, place, key, total, form.value_width, form.padded_value_width)
