"""Gradients of what is indexed by column: scores' gradients are laid out by column, then summed or multiplied."""

from types import SimpleNamespace

from ..adapter import T
from ..spec import Spec
from .blocks import LN_2, constant


def slanting(spec: Spec, b: SimpleNamespace, s: SimpleNamespace) -> SimpleNamespace:
    """Statements for the gradients of relative positions and of bias; ``slanted`` has the shape of ``beside``."""
    dtype, columns, rows = b.dtype, b.columns, b.rows
    d, key_row, slanted_row = spec.key_width, s.key_row, s.beside_row

    @T.inline
    def begin_unit(o, m, head):
        if o.has_rel != 0:
            b.pack_rows(
                m.r_rows, 0, key_row, o.r, head * d, o.heads * d, d, o.columns, o.rel_columns, constant(dtype, 1.0)
            )
            b.fill(m.dr, 0, (o.rel_columns + rows) * key_row, b.zero)
        if o.wants_bias_columns != 0:
            b.fill(m.dbias, 0, o.columns, b.zero)

    @T.inline
    def lay_out(o, w, dscores, slanted, query, count, key, key_end, shown):
        """Every score's gradient to its column; 0 where a column names no key of the tile."""
        b.fill(slanted, 0, b.queries * slanted_row, b.zero)

        @T.inline
        def group(group, a, z):
            for i in T.serial(rows):
                r: T.int64 = group * rows + i
                low: T.int64 = T.max(query + r - o.left, key)
                high: T.int64 = T.min(query + r + o.right + 1, key_end)
                to: T.int64 = r * slanted_row + shown + low - o.shift * (query + r) + o.origin
                for n in T.serial(T.max(high - low, T.int64(0))):
                    slanted[to + n] = dscores[r * s.score_row + low - key + n]

        w.each_group(o, query, count, key, key_end, group)

    @T.inline
    def add_rel(o, m, w, slanted, qr, dqr, query, count, key, key_end, begin, end, shown):
        """``dqr += slanted r`` and ``dr += slanted^T qr``, over the columns begin ... end - 1 that the tile has."""
        for panel in T.serial(key_row // columns):

            @T.inline
            def into_dqr(group, a, z):
                newest: T.int64 = o.shift * (query + group * rows)
                low: T.int64 = T.max(a - newest - o.shift * (rows - 1) + o.origin, begin)
                high: T.int64 = T.min(z - newest + o.origin, end)
                b.product(
                    dqr, group * rows * key_row + panel * columns, key_row,
                    slanted, group * rows * slanted_row + shown + low, slanted_row, 1,
                    m.r_rows, low * key_row + panel * columns, key_row, high - low, True,
                )  # fmt: skip

            w.each_group(o, query, count, key, key_end, into_dqr)
            for group in T.serial((end - begin + rows - 1) // rows):
                low: T.int64 = begin + group * rows
                first: T.int64 = T.max(key - low - rows + 1 + o.origin - query, T.int64(0))
                last: T.int64 = T.min(key_end - low + o.origin - query, count)
                if first < last:
                    b.product(
                        m.dr, low * key_row + panel * columns, key_row,
                        slanted, first * slanted_row + shown + low, 1, slanted_row,
                        qr, first * key_row + panel * columns, key_row, last - first, True,
                    )  # fmt: skip

    @T.inline
    def add(o, m, w, dscores, slanted, qr, dqr, row, head, index, query, count, key, key_end, begin, end, shown):
        """What a tile contributes."""
        if T.Or(o.has_rel != 0, T.Or(o.wants_bias_columns != 0, o.wants_bias_rows != 0)):
            lay_out(o, w, dscores, slanted, query, count, key, key_end, shown)
        if o.has_rel != 0:
            add_rel(o, m, w, slanted, qr, dqr, query, count, key, key_end, begin, end, shown)
        named: T.int64 = T.min(end, o.columns) - begin
        if o.wants_bias_columns != 0:
            for r in T.serial(count):
                for c in T.serial(named):
                    m.dbias[begin + c] = m.dbias[begin + c] + slanted[r * slanted_row + s.margin + c]
        if o.wants_bias_rows != 0:
            for r in T.serial(count):
                to: T.int64 = (
                    row * o.bias_rows_batch + head * o.bias_rows_head + (index + r * o.dilation) * o.bias_rows_time
                )
                for c in T.serial(named):
                    o.bias_rows[to + begin + c] = o.bias_rows[to + begin + c] + slanted[r * slanted_row + s.margin + c]

    @T.inline
    def end_unit(o, m, unit):
        """Write the unit's own sums; whoever called adds them up, in the order of units."""
        if o.has_rel != 0:
            for c in T.serial(o.columns):
                for k in T.serial(d):
                    o.dr[(unit * o.columns + c) * d + k] = m.dr[c * key_row + k] * constant(dtype, LN_2)
        if o.wants_bias_columns != 0:
            for c in T.serial(o.columns):
                o.bias_columns[unit * o.columns + c] = m.dbias[c]

    return SimpleNamespace(begin_unit=begin_unit, add=add, end_unit=end_unit)
