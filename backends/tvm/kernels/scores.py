"""Scores of a cache block: products with keys and relative positions, bias, keys switched off, the band's edges.

In units of log 2: what is given is multiplied by log2(e) once, where it is packed. The columns of bias and of relative
positions (query m sees key n in column ``n - shift * m + origin``) lie beside one another in a row of ``beside``, from
the block's first column on; a score reads its own by an unaligned load, so nothing is gathered.
"""

from types import SimpleNamespace

from ..adapter import T
from ..spec import Spec
from .blocks import LOG2_E, constant
from .workspace import padded

MINUS_INFINITY = float("-inf")


def scoring(spec: Spec, b: SimpleNamespace) -> SimpleNamespace:
    """Statements that fill ``scores [queries, score_row]`` for a block of queries and a tile of keys.

    A row of scores has room for a group of keys that starts within the tile and ends ``past`` it.
    """
    dtype, width, columns, rows = spec.dtype, b.width, b.columns, b.rows
    d = spec.key_width
    key_row = padded(d, columns)
    margin = columns + b.queries
    beside_row = b.keys + b.queries + 2 * margin + 2 * columns
    past = padded(rows, width)
    score_row = b.keys + past
    off, log2_e = constant(dtype, MINUS_INFINITY), constant(dtype, LOG2_E)

    @T.inline
    def pack_keys(o, m, row, head, residue, base, count):
        """Keys base ... base + count - 1 of the unit, with what switches them off."""
        at: T.int64 = row * o.k_batch + head * o.k_head + (residue + base * o.dilation) * o.k_time
        b.pack_panels(m.k_panels, o.k, at, o.dilation * o.k_time, d, count, padded(count, columns))
        if o.has_valid != 0:
            for key in T.serial(count):
                m.switched_off[key] = T.Select(o.valid[row * o.keys + residue + (base + key) * o.dilation], b.zero, off)
            b.fill(m.switched_off, count, padded(count, columns) - count, b.zero)

    @T.inline
    def pack_positions(o, m, head):
        """The head's relative positions, for all of its unit."""
        if o.has_rel != 0:
            b.pack_panels(m.r_panels, o.r, head * d, o.heads * d, d, o.columns, o.rel_columns)

    @T.inline
    def pack_queries(o, queries, qr, row, head, index, count):
        """Queries index, index + dilation, ... times scale, and likewise qr; in units of log 2."""
        b.pack_rows(
            queries, 0, key_row, o.q, row * o.q_batch + head * o.q_head + index * o.q_time,
            o.dilation * o.q_time, d, count, b.queries, o.scale * log2_e,
        )  # fmt: skip
        if o.has_rel != 0:
            b.pack_rows(
                qr, 0, key_row, o.qr, row * o.qr_batch + head * o.qr_head + index * o.qr_time,
                o.dilation * o.qr_time, d, count, b.queries, o.scale * log2_e,
            )  # fmt: skip

    @T.inline
    def block_columns(o, query, key, key_end, body):
        """``body(begin, end, shown)``: columns a block needs, whole panels; ``shown`` is where column 0 would lie."""
        lowest: T.int64 = key - o.shift * (query + b.queries - 1) + o.origin
        highest: T.int64 = T.min(key_end + columns - o.shift * query + o.origin, o.columns)
        begin: T.int64 = T.max(lowest, T.int64(0)) // columns * columns
        end: T.int64 = T.max((highest + columns - 1) // columns * columns, begin)
        body(begin, end, margin - begin)

    @T.inline
    def fill_beside(o, m, beside, qr, query, count, key, key_end, begin, end, bias_at):
        """Columns begin ... end - 1 of every query: ``qr.r + bias``."""
        if o.has_rel != 0:
            for panel in T.serial((end - begin) // columns):
                for group in T.serial(b.groups):
                    at: T.int64 = begin + panel * columns - o.origin
                    newest: T.int64 = o.shift * (query + group * rows)
                    if T.And(at < key_end + columns - newest, at + columns > key - newest - o.shift * rows):
                        b.product(
                            beside, group * rows * beside_row + margin + panel * columns, beside_row,
                            qr, group * rows * key_row, key_row, 1,
                            m.r_panels, (begin + panel * columns) * d, columns, d, False,
                        )  # fmt: skip
        else:
            for row in T.serial(b.queries):
                b.fill(beside, row * beside_row + margin, end - begin, b.zero)
        if o.has_bias != 0:
            for row in T.serial(count):
                for c in T.serial(T.min(end, o.columns) - begin):
                    beside[row * beside_row + margin + c] = (
                        beside[row * beside_row + margin + c]
                        + o.bias[bias_at + row * o.dilation * o.bias_time + begin + c] * log2_e
                    )

    @T.inline
    def add(scores, scores_at, count, other, other_at):
        """``count`` vectors of ``other`` to those of ``scores``."""
        for v in T.serial(count):
            for lane in T.vectorized(width):
                scores[scores_at + v * width + lane] = (
                    scores[scores_at + v * width + lane] + other[other_at + v * width + lane]
                )

    @T.inline
    def mask(scores, at, count, low, high):
        """Minus infinity in the lanes of ``count`` vectors that lie outside low ... high."""
        for v in T.serial(count):
            for lane in T.vectorized(width):
                scores[at + v * width + lane] = T.Select(
                    T.And(T.Cast("int32", v * width - low) + lane >= 0, T.Cast("int32", v * width - high) + lane <= 0),
                    scores[at + v * width + lane],
                    off,
                )

    @T.inline
    def multiply(o, scores, queries, panels, query, count, key, key_end, row, length):
        """Products of a block of queries with a tile of keys, where somebody sees them."""
        for panel in T.serial((key_end - key + columns - 1) // columns):
            for group in T.serial((count + rows - 1) // rows):
                if T.And(
                    key + panel * columns < query + group * rows + rows + o.right,
                    key + panel * columns + columns > query + group * rows - o.left,
                ):
                    b.product(
                        scores, group * rows * score_row + panel * columns, score_row,
                        queries, group * rows * row, row, 1,
                        panels, (key + panel * columns) * length, columns, length, False,
                    )  # fmt: skip

    @T.inline
    def finish_row(o, m, scores, beside, query, row, key, first, key_end, v, vectors, shown):
        """Everything but the products, for the vectors v ... v + vectors - 1 of a row."""
        at: T.int64 = row * score_row + v * width
        start: T.int64 = key + v * width
        if T.Or(o.has_rel != 0, o.has_bias != 0):
            add(scores, at, vectors, beside, row * beside_row + shown + start - o.shift * (query + row) + o.origin)
        if o.has_valid != 0:
            add(scores, at, vectors, m.switched_off, start)
        low: T.int64 = T.max(query + row - o.left, first) - start
        high: T.int64 = T.min(query + row + o.right, key_end - 1) - start
        if T.Or(low > 0, high < vectors * width - 1):
            mask(scores, at, vectors, T.max(low, T.int64(-1)), T.max(T.min(high, vectors * width), T.int64(-1)))

    return SimpleNamespace(
        key_row=key_row,
        score_row=score_row,
        past=past,
        beside_row=beside_row,
        margin=margin,
        pack_keys=pack_keys,
        pack_positions=pack_positions,
        pack_queries=pack_queries,
        block_columns=block_columns,
        fill_beside=fill_beside,
        multiply=multiply,
        finish_row=finish_row,
    )
