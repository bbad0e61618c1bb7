"""Gradients of a block of queries: dq and dqr, and what the other backward kernels want to know of each query."""

import triton
import triton.language as tl

from .diagonals import by_column, first_column, load_positioned, load_positions
from .gradients import probs_of, scores_gradient
from .place import edge_tile, num_edge_tiles, place_of, span_of, taken
from .rows import load, load_numbers, store, store_numbers
from .scores import finished, product
from .tile import keys_at, queries_at


@triton.jit
def add_keys(
    sums,
    q,
    qr,
    dout,
    lse,
    delta,
    operands,
    sizes,
    place,
    query,
    start_query,
    start_key,
    form: tl.constexpr,
    CHECKED: tl.constexpr,
):
    """Add what a tile of keys says about the queries' gradients ``sums``: dq and dqr, still to be scaled."""
    dq, dqr = sums
    key = keys_at(operands, place, start_key, form)
    k = load(operands.k, place, key, form.width, form.padded_width)
    v = load(operands.v, place, key, form.value_width, form.padded_value_width)
    positions = load_positions(operands, sizes, place, first_column(sizes, place, start_query, start_key, form), form)
    products = product(q, k, form)
    scores = finished(products, qr, positions, operands, sizes, place, query, key, start_key, form, False, CHECKED)
    probs = probs_of(scores, lse, False)
    dscores = scores_gradient(probs, product(dout, v, form), delta, operands, sizes, place, query, key, False)
    dq = tl.dot(dscores.to(k.dtype), k, dq, input_precision=form.precision)
    if operands.r is not None:
        dqr = tl.dot(by_column(dscores, form).to(k.dtype), positions, dqr, input_precision=form.precision)
    return dq, dqr


@triton.jit
def attend_queries(dq, dqr, out, dlse, lse, delta, dout, operands, sizes, form: tl.constexpr):
    """Gradients of a block of a line's queries; ``delta`` becomes ``out . dout - dlse`` of each."""
    sizes = taken(sizes)
    place = place_of(sizes, tl.program_id(0) % form.dilation, tl.program_id(1), form)
    start_query = tl.program_id(0) // form.dilation * form.queries
    query = queries_at(place, start_query, form)
    q = load(operands.q, place, query, form.width, form.padded_width)
    do = load(dout, place, query, form.value_width, form.padded_value_width)
    o = load(out, place, query, form.value_width, form.padded_value_width)
    per_query = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    per_query -= load_numbers(dlse, sizes.num_queries, sizes.num_heads, place, query)
    store_numbers(delta, sizes.num_queries, sizes.num_heads, place, query, per_query)
    natural = load_numbers(lse, sizes.num_queries, sizes.num_heads, place, query)
    qr = load_positioned(operands, place, query, form)
    zeros = tl.full([form.queries, form.padded_width], 0.0, tl.float32)
    sums = zeros, zeros
    span = span_of(start_query, form.queries, place.past, sizes.left, sizes.right, place.num_keys, form.keys, form)
    for start in range(span.full, span.edge, form.keys):
        sums = add_keys(
            sums, q, qr, do, natural, per_query, operands, sizes, place, query, start_query, start, form, False
        )
    for turn in range(0, num_edge_tiles(span, form.keys)):
        start = edge_tile(span, turn, form.keys)
        sums = add_keys(
            sums, q, qr, do, natural, per_query, operands, sizes, place, query, start_query, start, form, True
        )
    store(dq, place, query, sums[0] * sizes.scale, form.width, form.padded_width)
    if operands.r is not None:
        store(dqr, place, query, sums[1] * sizes.scale, form.width, form.padded_width)
