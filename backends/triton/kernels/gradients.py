"""Probabilities of a tile again, and the gradient of its scores."""

import triton
import triton.language as tl

from .rows import load, load_numbers
from .scores import LOG2_E, finished, kept, product
from .tile import keys_at, of_queries, queries_at


@triton.jit
def probs_of(scores, lse, KEYS_FIRST: tl.constexpr):
    """Probabilities before dropout, from scores in base 2 and the queries' ``lse [M]``; 0 for one without keys."""
    base = tl.where(lse == float("-inf"), 0.0, lse * LOG2_E)
    return tl.exp2(scores - of_queries(base, KEYS_FIRST))


@triton.jit
def scores_gradient(probs, dprobs, delta, operands, sizes, place, query, key, KEYS_FIRST: tl.constexpr):
    """The gradient of scores with bias, from ``dprobs = dout . v``."""
    dprobs = kept(dprobs, operands, sizes, place, query, key, KEYS_FIRST) / sizes.kept
    return probs * (dprobs - of_queries(delta, KEYS_FIRST))


@triton.jit
def tile_gradient(lse, delta, dout, qr, positions, operands, sizes, place, start_query, start_key, form: tl.constexpr):
    """The gradient of the scores of a tile of queries by keys, ``[M, N]``."""
    query, key = queries_at(place, start_query, form), keys_at(operands, place, start_key, form)
    q = load(operands.q, place, query, form.width, form.padded_width)
    k = load(operands.k, place, key, form.width, form.padded_width)
    v = load(operands.v, place, key, form.value_width, form.padded_value_width)
    do = load(dout, place, query, form.value_width, form.padded_value_width)
    products = product(q, k, form)
    scores = finished(products, qr, positions, operands, sizes, place, query, key, start_key, form, False, True)
    probs = probs_of(scores, load_numbers(lse, sizes.num_queries, sizes.num_heads, place, query), False)
    per_query = load_numbers(delta, sizes.num_queries, sizes.num_heads, place, query)
    return scores_gradient(probs, product(do, v, form), per_query, operands, sizes, place, query, key, False)
