"""Tier 0: scores along the band."""

from types import SimpleNamespace

from ..adapter import T
from ..arguments import BAND_QK
from ..spec import Spec
from .blocks import building_blocks, constant
from .scores import scoring
from .walk import carve, keys_of, operands, walks
from .workspace import band_qk_areas, padded


def define(spec: Spec):
    """``out [B, T, H, C]`` of :meth:`AttentionBackend.band_qk`."""
    b = building_blocks(spec)
    w, s = walks(b), scoring(spec, b)
    dtype, d = b.dtype, spec.key_width

    def areas(o: SimpleNamespace) -> dict:
        return band_qk_areas(spec, o.window)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, BAND_QK, dtype))
        m = T.meta_var(carve(o, task, areas(o), dtype))
        queries = T.alloc_buffer((b.queries * d,), dtype, scope="local")
        scores = T.alloc_buffer((b.queries * s.score_row,), dtype, scope="local")

        @T.inline
        def unit(unit, row, head, residue, part, first, last):
            num_columns: T.int64 = o.left + o.right + 1

            @T.inline
            def chunk(first, last, base, end):
                at: T.int64 = row * o.k_batch + head * o.k_head + (residue + base * o.dilation) * o.k_time
                b.pack_panels(m.k_panels, o.k, at, o.dilation * o.k_time, d, end - base, padded(end - base, b.columns))

                @T.inline
                def block(query, count):
                    index: T.int64 = residue + (base + query) * o.dilation - o.offset
                    q_at: T.int64 = row * o.q_batch + head * o.q_head + index * o.q_time
                    b.pack_rows(
                        queries, 0, d, o.q, q_at, o.dilation * o.q_time, d, count, b.queries, constant(dtype, 1.0)
                    )
                    out_at: T.int64 = ((row * o.queries + index) * o.heads + head) * num_columns
                    out_row: T.int64 = o.dilation * o.heads * num_columns
                    for r in T.serial(count):
                        before: T.int64 = T.min(T.max(o.left - base - query - r, T.int64(0)), num_columns)
                        after: T.int64 = T.max(
                            T.min(keys_of(o, residue) - base - query - r + o.left, num_columns), before
                        )
                        b.fill(o.out, out_at + r * out_row, before, b.zero)
                        b.fill(o.out, out_at + r * out_row + after, num_columns - after, b.zero)

                    @T.inline
                    def tile(key, first, key_end):
                        s.multiply(o, scores, queries, m.k_panels, query, count, key, key_end, d, d)
                        for r in T.serial(count):
                            low: T.int64 = T.max(query + r - o.left, key)
                            high: T.int64 = T.min(query + r + o.right + 1, key_end)
                            to: T.int64 = out_at + r * out_row + low - query - r + o.left
                            for n in T.serial(T.max(high - low, T.int64(0))):
                                o.out[to + n] = scores[r * s.score_row + low - key + n]

                    w.each_tile(o, head, query, count, end - base, tile)

                w.each_block(o, first - base, last - base, block)

            w.each_chunk(o, residue, first, last, chunk)

        w.each_unit(o, task, unit)

    return seqmem_task
