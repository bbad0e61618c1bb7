"""Attention of a block of queries, with a running maximum and sum."""

import triton
import triton.language as tl

from .diagonals import first_column, load_positioned, load_positions
from .place import edge_tile, num_edge_tiles, place_of, span_of, taken
from .rows import load, store, store_numbers
from .scores import LOG2_E, finished, kept, product
from .tile import keys_at, queries_at


@triton.jit
def add_keys(
    sums, q, qr, operands, sizes, place, query, start_query, start_key, form: tl.constexpr, CHECKED: tl.constexpr
):
    """Let a block of queries see a tile of keys too; ``sums`` are weighted values, weights and the largest score."""
    values, weights, largest = sums
    key = keys_at(operands, place, start_key, form)
    k = load(operands.k, place, key, form.width, form.padded_width)
    positions = load_positions(operands, sizes, place, first_column(sizes, place, start_query, start_key, form), form)
    products = product(q, k, form)
    scores = finished(products, qr, positions, operands, sizes, place, query, key, start_key, form, False, CHECKED)
    before, largest = largest, tl.maximum(largest, tl.max(scores, 1))
    base = tl.where(largest == float("-inf"), 0.0, largest)
    shrink = tl.exp2(before - base)
    probs = tl.exp2(scores - base[:, None])
    weights = weights * shrink + tl.sum(probs, 1)
    probs = kept(probs, operands, sizes, place, query, key, False)
    v = load(operands.v, place, key, form.value_width, form.padded_value_width)
    values = tl.dot(probs.to(v.dtype), v, values * shrink[:, None], input_precision=form.precision)
    return values, weights, largest


@triton.jit
def attend(out, lse, operands, sizes, form: tl.constexpr):
    """``out`` and ``lse`` of a block of a line's queries."""
    sizes = taken(sizes)
    place = place_of(sizes, tl.program_id(0) % form.dilation, tl.program_id(1), form)
    start_query = tl.program_id(0) // form.dilation * form.queries
    query = queries_at(place, start_query, form)
    q = load(operands.q, place, query, form.width, form.padded_width)
    qr = load_positioned(operands, place, query, form)
    values = tl.full([form.queries, form.padded_value_width], 0.0, tl.float32)
    sums = values, tl.full([form.queries], 0.0, tl.float32), tl.full([form.queries], float("-inf"), tl.float32)
    span = span_of(start_query, form.queries, place.past, sizes.left, sizes.right, place.num_keys, form.keys, form)
    for start in range(span.full, span.edge, form.keys):
        sums = add_keys(sums, q, qr, operands, sizes, place, query, start_query, start, form, False)
    for turn in range(0, num_edge_tiles(span, form.keys)):
        start = edge_tile(span, turn, form.keys)
        sums = add_keys(sums, q, qr, operands, sizes, place, query, start_query, start, form, True)
    values, weights, largest = sums
    seen = tl.where(weights > 0, weights, 1.0)
    store(out, place, query, values / (seen * sizes.kept)[:, None], form.value_width, form.padded_value_width)
    natural = tl.where(weights > 0, (largest + tl.log2(seen)) / LOG2_E, float("-inf"))
    store_numbers(lse, sizes.num_queries, sizes.num_heads, place, query, natural)
