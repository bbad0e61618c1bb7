"""Gradients by the columns of a band: dr of relative positions, and of a bias that is the same for every query.

A program walks down a diagonal of tiles, all of which meet the same columns, and so it alone adds to its sums.
"""

import triton
import triton.language as tl

from .diagonals import by_column, load_positioned, load_positions
from .gradients import tile_gradient
from .place import place_of, taken
from .tile import queries_at


@triton.jit
def attend_columns(dr, dbias, lse, delta, dout, operands, sizes, form: tl.constexpr):
    """Sums over some blocks of a line's queries along diagonal ``program_id(0)`` of the tiles.

    They go to ``dr [parts, batch * heads, diagonals, SPAN, D]``, to be scaled, and ``dbias``, the same without D; the
    first column of a diagonal's ``SPAN`` is ``diagonal * N - (M - 1)``.
    """
    sizes = taken(sizes)
    diagonal, part = tl.program_id(0), tl.program_id(2)
    place = place_of(sizes, part % form.dilation, tl.program_id(1), form)
    first = diagonal * form.keys - (form.queries - 1)
    positions = load_positions(operands, sizes, place, first, form)
    sum_r = tl.full([form.span, form.padded_width], 0.0, tl.float32)
    sum_bias = tl.full([form.span], 0.0, tl.float32)
    num_parts = tl.num_programs(2) // form.dilation
    for block in range(part // form.dilation, tl.cdiv(place.num_queries, form.queries), num_parts):
        start_query = block * form.queries
        start_key = start_query + place.past - sizes.left + diagonal * form.keys
        qr = load_positioned(operands, place, queries_at(place, start_query, form), form)
        tile = tile_gradient(lse, delta, dout, qr, positions, operands, sizes, place, start_query, start_key, form)
        slanted = by_column(tile, form)
        sum_bias += tl.sum(slanted, 0)
        if dr is not None:
            sum_r = tl.dot(tl.trans(slanted).to(qr.dtype), qr, sum_r, input_precision=form.precision)
    program = (part * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + diagonal
    where = program.to(tl.int64) * form.span + tl.arange(0, form.span)
    if dbias is not None:
        tl.store(dbias + where, sum_bias)
    if dr is not None:
        column = tl.arange(0, form.padded_width)
        tl.store(dr + where[:, None] * form.width + column[None, :], sum_r, mask=(column < form.width)[None, :])
