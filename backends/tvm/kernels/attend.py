"""Fused attention over a band, forward: online softmax, a tile of keys at a time."""

from collections.abc import Callable
from types import SimpleNamespace

from ..adapter import T
from ..arguments import ATTEND, DTYPES, Layout
from ..spec import Spec
from .blocks import LN_2, LOWEST, building_blocks, constant, exp2
from .dropout import dropping
from .query_sums import weighted_sums
from .scores import MINUS_INFINITY, scoring
from .walk import carve, operands, walks
from .workspace import attend_areas, padded


def define(spec: Spec):
    """``out, lse`` of :class:`seqmem.ops.backend.Attention` for a Band, or for Dense as a band without bounds."""
    return attending(spec, ATTEND, walks)


def attending(spec: Spec, layout: Layout, walks: Callable[[SimpleNamespace], SimpleNamespace]):
    """The kernel that meets the keys in the order of a walk."""
    b = building_blocks(spec)
    w, s, drop = walks(b), scoring(spec, b), dropping(b)
    dtype, width, columns, rows = b.dtype, b.width, b.columns, b.rows
    e = spec.value_width
    value_row = padded(e, columns)
    softmax_row, write_row = softmax(b, e, value_row)
    add_values = weighted_sums(b, w, s.score_row)

    def areas(o: SimpleNamespace, task) -> SimpleNamespace:
        return carve(o, task, attend_areas(spec, o.window, o.rel_columns), dtype)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, layout, dtype, DTYPES))
        m = T.meta_var(areas(o, task))
        queries = T.alloc_buffer((b.queries * s.key_row,), dtype, scope="local")
        qr = T.alloc_buffer((b.queries * s.key_row,), dtype, scope="local")
        scores = T.alloc_buffer((b.queries * s.score_row,), dtype, scope="local")
        beside = T.alloc_buffer((b.queries * s.beside_row,), dtype, scope="local")
        out = T.alloc_buffer((b.queries * value_row,), dtype, scope="local")
        maximum = T.alloc_buffer((b.queries,), dtype, scope="local")
        total = T.alloc_buffer((b.queries * width,), dtype, scope="local")

        @T.inline
        def unit(unit, row, head, residue, part, first, last):
            s.pack_positions(o, m, head)

            @T.inline
            def chunk(first, last, base, end):
                s.pack_keys(o, m, row, head, residue, base, end - base)
                v_at: T.int64 = row * o.v_batch + head * o.v_head + (residue + base * o.dilation) * o.v_time
                b.pack_rows(
                    m.v_rows, 0, value_row, o.v, v_at, o.dilation * o.v_time, e, end - base,
                    padded(end - base, columns), constant(dtype, 1.0),
                )  # fmt: skip

                @T.inline
                def block(query, count):
                    index: T.int64 = residue + (base + query) * o.dilation - o.offset
                    bias_at: T.int64 = row * o.bias_batch + head * o.bias_head + index * o.bias_time
                    s.pack_queries(o, queries, qr, row, head, index, count)
                    b.fill(maximum, 0, b.queries, constant(dtype, LOWEST))
                    b.fill(total, 0, b.queries * width, b.zero)
                    b.fill(out, 0, b.queries * value_row, b.zero)

                    @T.inline
                    def tile(key, first, key_end):
                        s.multiply(
                            o, scores, queries, m.k_panels, query, count, key, key_end, s.key_row, spec.key_width
                        )

                        @T.inline
                        def with_columns(begin, stop, shown):
                            if T.Or(o.has_rel != 0, o.has_bias != 0):
                                s.fill_beside(o, m, beside, qr, query, count, key, key_end, begin, stop, bias_at)

                            @T.inline
                            def probabilities(group, a, z):
                                v: T.int64 = (a - key) // columns * columns // width
                                vectors: T.int64 = (z - key + columns - 1) // columns * columns // width - v
                                for i in T.serial(rows):
                                    r: T.int64 = group * rows + i
                                    at: T.int64 = r * s.score_row + v * width
                                    s.finish_row(o, m, scores, beside, query, r, key, first, key_end, v, vectors, shown)
                                    softmax_row(scores, at, vectors, maximum, total, out, r)
                                    if o.threshold != 0:
                                        drop.drop_row(
                                            scores, at, vectors, o.dropout_keys[row * o.heads + head],
                                            index + r * o.dilation, residue + (base + key + v * width) * o.dilation,
                                            o.dilation, o.threshold,
                                        )  # fmt: skip

                            w.each_group(o, query, count, first, key_end, probabilities)

                        s.block_columns(o, query, key, key_end, with_columns)
                        add_values(o, out, value_row, scores, m.v_rows, query, count, key, first, key_end)

                    w.each_tile(o, head, query, count, end - base, tile)
                    for r in T.serial(count):
                        write_row(
                            o, (row * o.queries + index + r * o.dilation) * o.heads + head, maximum, total, out, r
                        )

                w.each_block(o, first - base, last - base, block)

            w.each_chunk(o, residue, first, last, chunk)

        w.each_unit(o, task, unit)

    return seqmem_task


def softmax(b: SimpleNamespace, e: int, value_row: int):
    """Statements of the online softmax: one for a row of a tile, one for a row that is complete."""
    dtype, width = b.dtype, b.width

    @T.inline
    def raise_maximum(scores, at, vectors, top):
        """``top[0]`` becomes the largest of itself and a row of scores."""
        best = T.alloc_buffer((width,), dtype, scope="local")
        for lane in T.vectorized(width):
            best[lane] = top[0]
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                best[lane] = T.max(best[lane], scores[at + v * width + lane])
        for lane in T.unroll(width):
            top[0] = T.max(top[0], best[lane])

    @T.inline
    def softmax_row(scores, at, vectors, maximum, total, out, row):
        """Scores become probabilities times ``2^-maximum``; what was summed before is brought to the new maximum."""
        top = T.alloc_buffer((1,), dtype, scope="local")
        shrink = T.alloc_buffer((width,), dtype, scope="local")
        sums = T.alloc_buffer((width,), dtype, scope="local")
        top[0] = maximum[row]
        raise_maximum(scores, at, vectors, top)
        for lane in T.vectorized(width):
            shrink[lane] = exp2(maximum[row] - top[0], dtype)
        for lane in T.vectorized(width):
            sums[lane] = total[row * width + lane] * shrink[lane]
        maximum[row] = top[0]
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                scores[at + v * width + lane] = exp2(scores[at + v * width + lane] - top[0], dtype)
            for lane in T.vectorized(width):
                sums[lane] = sums[lane] + scores[at + v * width + lane]
        for lane in T.vectorized(width):
            total[row * width + lane] = sums[lane]
        for v in T.unroll(value_row // width):
            for lane in T.vectorized(width):
                out[row * value_row + v * width + lane] = out[row * value_row + v * width + lane] * shrink[lane]

    @T.inline
    def write_row(o, position, maximum, total, out, row):
        """Divide by the sum of the probabilities; a query without keys gives 0 and minus infinity."""
        whole = T.alloc_buffer((1,), dtype, scope="local")
        whole[0] = b.zero
        for lane in T.unroll(width):
            whole[0] = whole[0] + total[row * width + lane]
        if whole[0] == b.zero:
            o.lse[position] = constant(dtype, MINUS_INFINITY)
            b.fill(o.out, position * e, e, b.zero)
        else:
            o.lse[position] = (maximum[row] + T.log2(whole[0])) * constant(dtype, LN_2)
            for k in T.serial(e):
                o.out[position * e + k] = out[row * value_row + k] * (o.keep_scale / whole[0])

    return softmax_row, write_row
