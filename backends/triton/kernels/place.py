"""Which part of an attention a program computes, and which tiles of the other side it meets.

Positions that differ by a multiple of a band's dilation form a line of their own, on which the band has no dilation.
A line's queries and keys are counted from 0, and query i stands at key ``i + past``.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from ..operands import Sizes


class Place(NamedTuple):
    """A line of a head: its first query and key, how many it has of both, and the key at which query 0 stands."""

    batch: Any
    head: Any
    first_query: Any
    first_key: Any
    num_queries: Any
    num_keys: Any
    past: Any


class Span(NamedTuple):
    """Tiles that a block of rows meets, from ``begin`` to ``end``; it sees all of those from ``full`` to ``edge``."""

    begin: Any
    full: Any
    edge: Any
    end: Any


@triton.jit
def taken(sizes):
    """The :class:`Sizes` that were given as :meth:`Sizes.odd`."""
    return Sizes(
        (sizes.num_queries - 3) >> 1,
        (sizes.num_keys - 3) >> 1,
        (sizes.num_columns - 3) >> 1,
        (sizes.num_heads - 3) >> 1,
        (sizes.left - 3) >> 1,
        (sizes.right - 3) >> 1,
        sizes.scale,
        sizes.threshold,
        sizes.kept,
    )


@triton.jit
def place_of(sizes, residue, batch_head, form: tl.constexpr):
    """The line of the keys at ``residue`` modulo the dilation."""
    batch, head = batch_head // sizes.num_heads, batch_head % sizes.num_heads
    past = sizes.num_keys - sizes.num_queries
    if form.pattern == "band":
        first_query = (residue - past % form.dilation + form.dilation) % form.dilation
        num_queries = tl.cdiv(sizes.num_queries - first_query, form.dilation)
        num_keys = tl.cdiv(sizes.num_keys - residue, form.dilation)
        past = (first_query + past - residue) // form.dilation
        return Place(batch, head, first_query, residue, num_queries, num_keys, past)
    else:
        return Place(batch, head, 0, 0, sizes.num_queries, sizes.num_columns, past)


@triton.jit
def span_of(first, COUNT: tl.constexpr, past, left, right, length, STEP: tl.constexpr, form: tl.constexpr):
    """Tiles of ``STEP`` positions that begin at its multiples, met by rows ``first .. first + COUNT - 1``.

    Row i meets positions ``i + past - left .. i + past + right``, of which those in ``0 .. length - 1`` exist.
    """
    if form.pattern == "band":
        begin = tl.maximum(first + past - left, 0) // STEP * STEP
        end = tl.minimum(first + COUNT + past + right, length)
        full = tl.cdiv(tl.maximum(first + COUNT - 1 + past - left, 0), STEP) * STEP
        full = tl.maximum(tl.minimum(full, tl.cdiv(end, STEP) * STEP), begin)
        edge = tl.minimum(first + past + right + 1, length) // STEP * STEP
        return Span(begin, full, tl.maximum(edge, full), end)
    else:
        return Span(0, 0, length // STEP * STEP, length)


@triton.jit
def num_edge_tiles(span, STEP: tl.constexpr):
    """How many tiles of a span the rows see in part."""
    return (span.full - span.begin) // STEP + tl.maximum(tl.cdiv(span.end - span.edge, STEP), 0)


@triton.jit
def edge_tile(span, turn, STEP: tl.constexpr):
    """Where the ``turn``-th of these begins."""
    start = span.begin + turn * STEP
    return tl.where(start < span.full, start, start - span.full + span.edge)
