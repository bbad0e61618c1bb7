"""How a tile lies along the diagonals of a band: its scores belong to ``SPAN`` columns, of which a query meets N."""

import triton
import triton.language as tl

from .rows import load
from .tile import Side


@triton.jit
def first_column(sizes, place, start_query, start_key, form: tl.constexpr):
    """The column at which a tile's last query meets its first key: the first of its ``SPAN``."""
    return start_key - (start_query + form.queries - 1) - place.past + sizes.left


@triton.jit
def load_positions(operands, sizes, place, first, form: tl.constexpr):
    """Relative positions of ``SPAN`` columns from ``first`` on, ``[SPAN, D]``; 0 if there are none."""
    if operands.r is not None:
        column = first + tl.arange(0, form.span)
        columns = Side(first, tl.arange(0, form.span), (column >= 0) & (column < sizes.num_columns))
        return load(operands.r, place, columns, form.width, form.padded_width)
    else:
        return 0


@triton.jit
def load_positioned(operands, place, query, form: tl.constexpr):
    """What queries multiply relative positions with, ``[M, D]``; 0 if there are none."""
    if operands.r is not None:
        return load(operands.qr, place, query, form.width, form.padded_width)
    else:
        return 0


@triton.jit
def relative_scores(qr, positions, form: tl.constexpr, KEYS_FIRST: tl.constexpr):
    """``qr . r`` of every query with the relative position of every key; ``positions [SPAN, D]``."""
    query, key = tl.arange(0, form.queries), tl.arange(0, form.keys)
    if KEYS_FIRST:
        products = tl.dot(positions, tl.trans(qr), input_precision=form.precision)
        return tl.gather(products, key[:, None] - query[None, :] + (form.queries - 1), 0)
    else:
        products = tl.dot(qr, tl.trans(positions), input_precision=form.precision)
        return tl.gather(products, key[None, :] - query[:, None] + (form.queries - 1), 1)


@triton.jit
def by_column(tile, form: tl.constexpr):
    """A tile ``[M, N]`` as ``[M, SPAN]``: what each query has in each column, 0 where it meets none."""
    query, column = tl.arange(0, form.queries), tl.arange(0, form.span)
    key = column[None, :] + query[:, None] - (form.queries - 1)
    met = (key >= 0) & (key < form.keys)
    return tl.where(met, tl.gather(tile, tl.where(met, key, 0), 1), 0.0)
