"""Tier 0: values summed with weights along the band."""

from types import SimpleNamespace

from ..adapter import T
from ..arguments import BAND_PV
from ..spec import Spec
from .blocks import building_blocks, constant
from .query_sums import weighted_sums
from .walk import carve, operands, walks
from .weights import weighting
from .workspace import band_pv_areas, padded


def define(spec: Spec):
    """``out [B, T, H, E]`` of :meth:`AttentionBackend.band_pv`."""
    b = building_blocks(spec)
    w, p = walks(b), weighting(b)
    add = weighted_sums(b, w, p.row)
    dtype, e = b.dtype, spec.value_width
    value_row = padded(e, b.columns)

    def areas(o: SimpleNamespace) -> dict:
        return band_pv_areas(spec, o.window)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, BAND_PV, dtype))
        m = T.meta_var(carve(o, task, areas(o), dtype))
        weights = T.alloc_buffer((b.queries * p.row,), dtype, scope="local")
        out = T.alloc_buffer((b.queries * value_row,), dtype, scope="local")

        @T.inline
        def unit(unit, row, head, residue, part, first, last):
            @T.inline
            def chunk(first, last, base, end):
                at: T.int64 = row * o.v_batch + head * o.v_head + (residue + base * o.dilation) * o.v_time
                b.pack_rows(
                    m.v_rows, 0, value_row, o.v, at, o.dilation * o.v_time, e, end - base, end - base,
                    constant(dtype, 1.0),
                )  # fmt: skip

                @T.inline
                def block(query, count):
                    index: T.int64 = residue + (base + query) * o.dilation - o.offset
                    b.fill(out, 0, b.queries * value_row, b.zero)

                    @T.inline
                    def tile(key, first, key_end):
                        p.load(o, weights, row, head, index, query, count, key, key_end)
                        add(o, out, value_row, weights, m.v_rows, query, count, key, first, key_end)

                    w.each_tile(o, head, query, count, end - base, tile)
                    for r in T.serial(count):
                        to: T.int64 = ((row * o.queries + index + r * o.dilation) * o.heads + head) * e
                        for k in T.serial(e):
                            o.out[to + k] = out[r * value_row + k]

                w.each_block(o, first - base, last - base, block)

            w.each_chunk(o, residue, first, last, chunk)

        w.each_unit(o, task, unit)

    return seqmem_task
