"""Gradients of a block of keys: dk and dv, and of a bias that is counted by keys and the same for every query."""

import triton
import triton.language as tl

from .diagonals import first_column, load_positioned, load_positions
from .gradients import probs_of, scores_gradient
from .place import edge_tile, num_edge_tiles, place_of, span_of, taken
from .rows import load, load_numbers, store
from .scores import finished, kept, product
from .tile import keys_at, queries_at


@triton.jit
def add_queries(
    sums,
    k,
    v,
    lse,
    delta,
    dout,
    operands,
    sizes,
    place,
    key,
    start_query,
    start_key,
    form: tl.constexpr,
    CHECKED: tl.constexpr,
):
    """Add what a tile of queries says about the keys' gradients ``sums``: dk, still to be scaled, dv and dbias."""
    dk, dv, dbias = sums
    query = queries_at(place, start_query, form)
    q = load(operands.q, place, query, form.width, form.padded_width)
    do = load(dout, place, query, form.value_width, form.padded_value_width)
    qr = load_positioned(operands, place, query, form)
    positions = load_positions(operands, sizes, place, first_column(sizes, place, start_query, start_key, form), form)
    products = product(k, q, form)
    scores = finished(products, qr, positions, operands, sizes, place, query, key, start_key, form, True, CHECKED)
    probs = probs_of(scores, load_numbers(lse, sizes.num_queries, sizes.num_heads, place, query), True)
    dropped = kept(probs, operands, sizes, place, query, key, True)
    dv = tl.dot(dropped.to(do.dtype), do, dv, input_precision=form.precision)
    per_query = load_numbers(delta, sizes.num_queries, sizes.num_heads, place, query)
    dscores = scores_gradient(probs, product(v, do, form), per_query, operands, sizes, place, query, key, True)
    dk = tl.dot(dscores.to(q.dtype), q, dk, input_precision=form.precision)
    return dk, dv, dbias + tl.sum(dscores, 1)


@triton.jit
def attend_keys(dk, dv, dbias, lse, delta, dout, operands, sizes, form: tl.constexpr):
    """Gradients of a block of a line's keys."""
    sizes = taken(sizes)
    place = place_of(sizes, tl.program_id(0) % form.dilation, tl.program_id(1), form)
    start_key = tl.program_id(0) // form.dilation * form.keys
    key = keys_at(operands, place, start_key, form)
    k = load(operands.k, place, key, form.width, form.padded_width)
    v = load(operands.v, place, key, form.value_width, form.padded_value_width)
    zeros = tl.full([form.keys, form.padded_width], 0.0, tl.float32)
    sums = zeros, tl.full([form.keys, form.padded_value_width], 0.0, tl.float32), tl.full([form.keys], 0, tl.float32)
    span = span_of(start_key, form.keys, -place.past, sizes.right, sizes.left, place.num_queries, form.queries, form)
    for start in range(span.full, span.edge, form.queries):
        sums = add_queries(sums, k, v, lse, delta, dout, operands, sizes, place, key, start, start_key, form, False)
    for turn in range(0, num_edge_tiles(span, form.queries)):
        start = edge_tile(span, turn, form.queries)
        sums = add_queries(sums, k, v, lse, delta, dout, operands, sizes, place, key, start, start_key, form, True)
    store(dk, place, key, sums[0] * sizes.scale, form.width, form.padded_width)
    store(dv, place, key, sums[1] / sizes.kept, form.value_width, form.padded_value_width)
    if dbias is not None:
        column = start_key + tl.arange(0, form.keys)
        where = dbias + tl.program_id(1).to(tl.int64) * sizes.num_columns + column
        tl.store(where, sums[2], mask=column < sizes.num_columns)
