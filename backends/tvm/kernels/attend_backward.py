"""Fused attention over a band, backward: scores recomputed, every gradient in one pass over the tiles, no atomics.

A task owns whole sequences, so it alone adds to their dk and dv. With ``g = dout v^T`` and ``delta = sum(dout * out) -
dlse``, the gradient of a score is ``p (g - delta)``; queries are held times scale and log2(e), which dk and dr lose at
the end.
"""

from collections.abc import Callable
from types import SimpleNamespace

from ..adapter import T
from ..arguments import ATTEND_BACKWARD, DTYPES, Layout
from ..spec import Spec
from .blocks import LN_2, LOG2_E, LOWEST, building_blocks, constant, exp2
from .dropout import dropping
from .key_sums import summing
from .query_sums import weighted_sums
from .scores import scoring
from .slanted import slanting
from .walk import carve, keys_of, operands, walks
from .workspace import attend_backward_areas, padded


def define(spec: Spec):
    """Gradients of :class:`seqmem.ops.backend.Attention` for a Band, or for Dense as a band without bounds."""
    return differentiating(spec, ATTEND_BACKWARD, walks)


def differentiating(spec: Spec, layout: Layout, walks: Callable[[SimpleNamespace], SimpleNamespace]):
    """The kernel that meets the keys in the order of a walk."""
    b = building_blocks(spec)
    w, s, drop = walks(b), scoring(spec, b), dropping(b)
    dtype, width, columns, rows = b.dtype, b.width, b.columns, b.rows
    d, e, key_row = spec.key_width, spec.value_width, s.key_row
    value_row = padded(e, columns)
    one = constant(dtype, 1.0)
    slant, sums = slanting(spec, b, s), summing(b, w, s.score_row)
    add_keys = weighted_sums(b, w, s.score_row)
    load_block, gradients_of_row = steps(b, s, value_row, e)

    def areas(o: SimpleNamespace, task) -> SimpleNamespace:
        return carve(o, task, attend_backward_areas(spec, o.window, o.rel_columns, o.columns), dtype)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, layout, dtype, DTYPES))
        m = T.meta_var(areas(o, task))
        queries = T.alloc_buffer((b.queries * key_row,), dtype, scope="local")
        qr = T.alloc_buffer((b.queries * key_row,), dtype, scope="local")
        dout = T.alloc_buffer((b.queries * value_row,), dtype, scope="local")
        probs = T.alloc_buffer((b.queries * s.score_row,), dtype, scope="local")
        dscores = T.alloc_buffer((b.queries * s.score_row,), dtype, scope="local")
        beside = T.alloc_buffer((b.queries * s.beside_row,), dtype, scope="local")
        slanted = T.alloc_buffer((b.queries * s.beside_row,), dtype, scope="local")
        dq = T.alloc_buffer((b.queries * key_row,), dtype, scope="local")
        dqr = T.alloc_buffer((b.queries * key_row,), dtype, scope="local")
        lse = T.alloc_buffer((b.queries,), dtype, scope="local")
        delta = T.alloc_buffer((b.queries,), dtype, scope="local")

        @T.inline
        def unit(unit, row, head, residue, part, first, last):
            done = T.alloc_buffer((1,), "int64", scope="local")
            done[0] = T.int64(0)
            dk_at: T.int64 = (((part * o.batch + row) * o.keys + residue) * o.heads + head) * d
            dv_at: T.int64 = (((part * o.batch + row) * o.keys + residue) * o.heads + head) * e
            s.pack_positions(o, m, head)
            slant.begin_unit(o, m, head)

            @T.inline
            def chunk(first, last, base, end):
                s.pack_keys(o, m, row, head, residue, base, end - base)
                start: T.int64 = residue + base * o.dilation
                count_padded: T.int64 = padded(end - base, columns)
                b.pack_panels(
                    m.v_panels, o.v, row * o.v_batch + head * o.v_head + start * o.v_time, o.dilation * o.v_time, e,
                    end - base, count_padded,
                )  # fmt: skip
                b.pack_rows(
                    m.k_rows, 0, key_row, o.k, row * o.k_batch + head * o.k_head + start * o.k_time,
                    o.dilation * o.k_time, d, end - base, count_padded, one,
                )  # fmt: skip
                b.fill(m.dk, 0, (end - base) * key_row, b.zero)
                b.fill(m.dv, 0, (end - base) * value_row, b.zero)

                @T.inline
                def block(query, count):
                    index: T.int64 = residue + (base + query) * o.dilation - o.offset
                    bias_at: T.int64 = row * o.bias_batch + head * o.bias_head + index * o.bias_time
                    s.pack_queries(o, queries, qr, row, head, index, count)
                    load_block(o, dout, lse, delta, row, head, index, count)
                    b.fill(dq, 0, b.queries * key_row, b.zero)
                    b.fill(dqr, 0, b.queries * key_row, b.zero)

                    @T.inline
                    def tile(key, first, key_end):
                        s.multiply(o, probs, queries, m.k_panels, query, count, key, key_end, key_row, d)
                        s.multiply(o, dscores, dout, m.v_panels, query, count, key, key_end, value_row, e)

                        @T.inline
                        def with_columns(begin, stop, shown):
                            if T.Or(o.has_rel != 0, o.has_bias != 0):
                                s.fill_beside(o, m, beside, qr, query, count, key, key_end, begin, stop, bias_at)

                            @T.inline
                            def gradients(group, a, z):
                                v: T.int64 = (a - key) // columns * columns // width
                                vectors: T.int64 = (z - key + columns - 1) // columns * columns // width - v
                                for i in T.serial(rows):
                                    r: T.int64 = group * rows + i
                                    at: T.int64 = r * s.score_row + v * width
                                    s.finish_row(o, m, probs, beside, query, r, key, first, key_end, v, vectors, shown)
                                    gradients_of_row(
                                        o, drop, probs, dscores, at, v, vectors, lse, delta, r, row, head,
                                        index + r * o.dilation, residue + (base + key + v * width) * o.dilation,
                                    )  # fmt: skip

                            w.each_group(o, query, count, first, key_end, gradients)
                            slant.add(
                                o, m, w, dscores, slanted, qr, dqr, row, head, index, query, count, key, key_end, begin,
                                stop, shown,
                            )  # fmt: skip

                        s.block_columns(o, query, key, key_end, with_columns)
                        sums.add(o, m.dv, value_row, probs, dout, query, count, key, key_end)
                        sums.add(o, m.dk, key_row, dscores, queries, query, count, key, key_end)
                        add_keys(o, dq, key_row, dscores, m.k_rows, query, count, key, first, key_end)

                    w.each_tile(o, head, query, count, end - base, tile)
                    for r in T.serial(count):
                        position: T.int64 = ((row * o.queries + index + r * o.dilation) * o.heads + head) * d
                        for k in T.serial(d):
                            o.dq[position + k] = dq[r * key_row + k] * o.scale
                        if o.has_rel != 0:
                            for k in T.serial(d):
                                o.dqr[position + k] = dqr[r * key_row + k] * o.scale

                w.each_block(o, first - base, last - base, block)
                sums.write(o, o.dk, dk_at, d, m.dk, key_row, base, end, done[0], constant(dtype, LN_2))
                sums.write(o, o.dv, dv_at, e, m.dv, value_row, base, end, done[0], o.keep_scale)
                done[0] = end

            w.each_chunk(o, residue, first, last, chunk)
            num_keys: T.int64 = keys_of(o, residue)
            sums.clear(o, o.dk, dk_at, d, done[0], num_keys)
            sums.clear(o, o.dv, dv_at, e, done[0], num_keys)
            slant.end_unit(o, m, unit)

        w.each_unit(o, task, unit)

    return seqmem_task


def steps(b: SimpleNamespace, s: SimpleNamespace, value_row: int, e: int):
    """Statements of the backward pass that need no lengths of the problem."""
    dtype, width = b.dtype, b.width

    @T.inline
    def load_block(o, dout, lse, delta, row, head, index, count):
        """Gradients of the outputs, lse in units of log 2, and what every score's gradient has subtracted."""
        at: T.int64 = row * o.dout_batch + head * o.dout_head + index * o.dout_time
        step: T.int64 = o.dilation * o.dout_time
        b.pack_rows(dout, 0, value_row, o.dout, at, step, e, count, b.queries, constant(dtype, 1.0))
        b.fill(lse, 0, b.queries, constant(dtype, -LOWEST))
        b.fill(delta, 0, b.queries, b.zero)
        for r in T.serial(count):
            position: T.int64 = (row * o.queries + index + r * o.dilation) * o.heads + head
            out_at: T.int64 = row * o.out_batch + head * o.out_head + (index + r * o.dilation) * o.out_time
            if o.lse[position] > constant(dtype, LOWEST):
                lse[r] = o.lse[position] * constant(dtype, LOG2_E)
                delta[r] = -o.dlse[position]
                for k in T.serial(e):
                    delta[r] = delta[r] + dout[r * value_row + k] * o.out[out_at + k]

    @T.inline
    def gradients_of_row(o, drop, probs, dscores, at, v, vectors, lse, delta, r, row, head, query, key):
        """From scores to the ``probs`` that weighted the values; from products to the gradients of scores."""
        if o.threshold != 0:
            drop.drop_row(
                dscores, at, vectors, o.dropout_keys[row * o.heads + head], query, key, o.dilation, o.threshold
            )
        for n in T.serial(vectors):
            for lane in T.vectorized(width):
                probs[at + n * width + lane] = exp2(
                    T.Select(probs[at + n * width + lane] > lse[r], b.zero, probs[at + n * width + lane] - lse[r]),
                    dtype,
                )
            for lane in T.vectorized(width):
                dscores[at + n * width + lane] = probs[at + n * width + lane] * (
                    dscores[at + n * width + lane] * o.keep_scale - delta[r]
                )
        if o.threshold != 0:
            drop.drop_row(probs, at, vectors, o.dropout_keys[row * o.heads + head], query, key, o.dilation, o.threshold)
        before: T.int64 = T.min(v * width, T.int64(s.past))
        after: T.int64 = T.min(b.keys + s.past - (v + vectors) * width, T.int64(s.past))
        b.fill(probs, at - before, before, b.zero)
        b.fill(dscores, at - before, before, b.zero)
        b.fill(probs, at + vectors * width, after, b.zero)
        b.fill(dscores, at + vectors * width, after, b.zero)

    return load_block, gradients_of_row
