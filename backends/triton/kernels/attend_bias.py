"""The gradient of a bias that differs from query to query: a program owns a tile of it."""

import triton
import triton.language as tl

from .diagonals import load_positioned, load_positions
from .gradients import tile_gradient
from .place import place_of, taken
from .tile import positions_of, queries_at


@triton.jit(do_not_specialize=["bias_heads", "rows_shared", "heads_shared"])
def attend_bias(dbias, lse, delta, dout, operands, sizes, bias_heads, rows_shared, heads_shared, form: tl.constexpr):
    """``dbias [b, T, h, N]`` contiguous: sums over the batch rows and heads that share an entry."""
    sizes = taken(sizes)
    owner_batch, owner_head = tl.program_id(2) // bias_heads, tl.program_id(2) % bias_heads
    residue, start_query = tl.program_id(0) % form.dilation, tl.program_id(0) // form.dilation * form.queries
    total = tl.full([form.queries, form.keys], 0.0, tl.float32)
    for turn in range(0, rows_shared * heads_shared):
        batch, head = owner_batch + turn // heads_shared, owner_head + turn % heads_shared
        place = place_of(sizes, residue, batch * sizes.num_heads + head, form)
        start_key, first = start_of(sizes, place, start_query, form)
        positions = load_positions(operands, sizes, place, first, form)
        qr = load_positioned(operands, place, queries_at(place, start_query, form), form)
        total += tile_gradient(lse, delta, dout, qr, positions, operands, sizes, place, start_query, start_key, form)
    place = place_of(sizes, residue, owner_batch * sizes.num_heads + owner_head, form)
    start_key, first = start_of(sizes, place, start_query, form)
    query = queries_at(place, start_query, form)
    column = start_key + tl.arange(0, form.keys)[None, :] + tl.full([form.queries], 0, tl.int32)[:, None]
    if form.pattern == "band":
        column += first + (form.queries - 1) - start_key - tl.arange(0, form.queries)[:, None]
    exists = query.exists[:, None] & (column >= 0) & (column < sizes.num_columns)
    where = (owner_batch.to(tl.int64) * sizes.num_queries + positions_of(query)) * bias_heads + owner_head
    tl.store(dbias + where[:, None] * sizes.num_columns + column, total.to(dbias.dtype.element_ty), mask=exists)


@triton.jit
def start_of(sizes, place, start_query, form: tl.constexpr):
    """The first key of tile ``program_id(1)``, and the first column of the diagonals that it meets."""
    step = tl.program_id(1) * form.keys
    if form.pattern == "band":
        return start_query + place.past - sizes.left + step, step - (form.queries - 1)
    else:
        return step, 0
