"""Scores of a tile, in base 2, and what a softmax and dropout make of them."""

import triton
import triton.language as tl

from .diagonals import relative_scores
from .dropout import is_kept
from .tile import columns_of, is_on, of_keys, of_queries, positions_of, sees

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def product(own, other, form: tl.constexpr):
    """Every row of one side by every row of the other."""
    return tl.dot(own, tl.trans(other), input_precision=form.precision)


@triton.jit
def finished(
    products,
    qr,
    positions,
    operands,
    sizes,
    place,
    query,
    key,
    start_key,
    form: tl.constexpr,
    KEYS_FIRST: tl.constexpr,
    CHECKED: tl.constexpr,
):
    """``log2(e) * (scale * (q.k + qr.r) + bias)`` from ``q.k``; -inf where a query does not see a key.

    Unless ``CHECKED``, every key of the tile is known to lie in the band of every query.
    """
    if operands.r is not None:
        products += relative_scores(qr, positions, form, KEYS_FIRST)
    scores = products * (sizes.scale * LOG2_E)
    if operands.bias is not None:
        seen = sees(operands, sizes, place, query, key, form, KEYS_FIRST)
        scores += LOG2_E * bias_of(operands, sizes, place, query, key, start_key, seen, form, KEYS_FIRST)
        scores = tl.where(seen, scores, float("-inf"))
    elif CHECKED or form.causal:
        scores = tl.where(sees(operands, sizes, place, query, key, form, KEYS_FIRST), scores, float("-inf"))
    elif operands.valid is not None or form.pattern == "gather":
        scores = tl.where(of_keys(is_on(operands, sizes, place, key), KEYS_FIRST), scores, float("-inf"))
    return scores


@triton.jit
def bias_of(operands, sizes, place, query, key, start_key, seen, form: tl.constexpr, KEYS_FIRST: tl.constexpr):
    bias = operands.bias
    where = bias.start + place.batch.to(tl.int64) * bias.batch + place.head.to(tl.int64) * bias.head
    where += tl.cast(query.first, tl.int64) * bias.row + of_queries(query.offset * bias.row, KEYS_FIRST)
    where += columns_of(sizes, place, query, key, start_key, form, KEYS_FIRST) * bias.column
    return tl.load(where, mask=seen, other=0.0).to(tl.float32)


@triton.jit
def kept(tile, operands, sizes, place, query, key, KEYS_FIRST: tl.constexpr):
    """A tile of which dropout has set to 0 what it drops."""
    if operands.dropout_keys is not None:
        row_key = tl.load(operands.dropout_keys + place.batch * sizes.num_heads + place.head)
        query_at, key_at = of_queries(positions_of(query), KEYS_FIRST), of_keys(positions_of(key), KEYS_FIRST)
        tile = tl.where(is_kept(row_key, query_at, key_at, sizes.threshold), tile, 0.0)
    return tile
