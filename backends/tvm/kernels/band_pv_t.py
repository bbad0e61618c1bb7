"""Tier 0: the transpose of band_pv, every key's sum over the queries that see it."""

from types import SimpleNamespace

from ..adapter import T
from ..arguments import BAND_PV_T
from ..spec import Spec
from .blocks import building_blocks, constant
from .key_sums import summing
from .walk import carve, keys_of, operands, walks
from .weights import weighting
from .workspace import band_pv_t_areas, padded


def define(spec: Spec):
    """``out [parts, B, S, H, E]``, to be summed over parts, of :meth:`AttentionBackend.band_pv_t`."""
    b = building_blocks(spec)
    w, p = walks(b), weighting(b)
    sums = summing(b, w, p.row)
    dtype, e = b.dtype, spec.value_width
    value_row = padded(e, b.columns)
    one = constant(dtype, 1.0)

    def areas(o: SimpleNamespace) -> dict:
        return band_pv_t_areas(spec, o.window)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, BAND_PV_T, dtype))
        m = T.meta_var(carve(o, task, areas(o), dtype))
        weights = T.alloc_buffer((b.queries * p.row,), dtype, scope="local")
        g = T.alloc_buffer((b.queries * value_row,), dtype, scope="local")

        @T.inline
        def unit(unit, row, head, residue, part, first, last):
            done = T.alloc_buffer((1,), "int64", scope="local")
            done[0] = T.int64(0)
            out_at: T.int64 = (((part * o.batch + row) * o.keys + residue) * o.heads + head) * e

            @T.inline
            def chunk(first, last, base, end):
                b.fill(m.out, 0, (end - base) * value_row, b.zero)

                @T.inline
                def block(query, count):
                    index: T.int64 = residue + (base + query) * o.dilation - o.offset
                    at: T.int64 = row * o.g_batch + head * o.g_head + index * o.g_time
                    b.pack_rows(g, 0, value_row, o.g, at, o.dilation * o.g_time, e, count, b.queries, one)

                    @T.inline
                    def tile(key, first, key_end):
                        p.load(o, weights, row, head, index, query, count, key, key_end)
                        sums.add(o, m.out, value_row, weights, g, query, count, key, key_end)

                    w.each_tile(o, head, query, count, end - base, tile)

                w.each_block(o, first - base, last - base, block)
                sums.write(o, o.out, out_at, e, m.out, value_row, base, end, done[0], one)
                done[0] = end

            w.each_chunk(o, residue, first, last, chunk)
            num_keys: T.int64 = keys_of(o, residue)
            sums.clear(o, o.out, out_at, e, done[0], num_keys)

        w.each_unit(o, task, unit)

    return seqmem_task
