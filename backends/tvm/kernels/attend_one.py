"""Fused attention of one query, as in generation: every key is read once, where it lies, so nothing is packed."""

from collections.abc import Callable
from types import SimpleNamespace

from ..adapter import T
from ..arguments import ATTEND, DTYPES, Layout
from ..spec import Spec
from .blocks import LN_2, LOG2_E, LOWEST, building_blocks, constant, exp2
from .scores import MINUS_INFINITY
from .walk import carve, operands, walks
from .workspace import attend_one_areas


def define(spec: Spec):
    """``out, lse`` of :class:`seqmem.ops.backend.Attention` for T = 1, on a Band or Dense, without dropout."""
    return attending_one(spec, ATTEND, walks)


def attending_one(spec: Spec, layout: Layout, walks: Callable[[SimpleNamespace], SimpleNamespace]):
    """The kernel that meets the keys in the order of a walk."""
    b = building_blocks(spec)
    w = walks(b)
    dtype, zero = b.dtype, b.zero
    d, e = spec.key_width, spec.value_width
    dot, softmax = one_row(b)

    def areas(o: SimpleNamespace, task) -> SimpleNamespace:
        return carve(o, task, attend_one_areas(spec, o.window), dtype)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, layout, dtype, DTYPES))
        m = T.meta_var(areas(o, task))
        found = T.alloc_buffer((1,), dtype, scope="local")
        total = T.alloc_buffer((2,), dtype, scope="local")
        out = T.alloc_buffer((e,), dtype, scope="local")
        count = T.alloc_buffer((1,), "int64", scope="local")
        units: T.int64 = o.batch * o.heads
        begin: T.int64 = units * task // o.num_tasks
        residue: T.int64 = o.offset % o.dilation
        query: T.int64 = o.offset // o.dilation
        for u in T.serial(units * (task + 1) // o.num_tasks - begin):
            head: T.int64 = (begin + u) % o.heads
            row: T.int64 = (begin + u) // o.heads

            @T.inline
            def score(n, position):
                key: T.int64 = residue + position * o.dilation
                column: T.int64 = position - o.shift * query + o.origin
                found[0] = zero
                dot(
                    found, o.q, row * o.q_batch + head * o.q_head,
                    o.k, row * o.k_batch + head * o.k_head + key * o.k_time, d,
                )  # fmt: skip
                if o.has_rel != 0:
                    dot(found, o.qr, row * o.qr_batch + head * o.qr_head, o.r, (column * o.heads + head) * d, d)
                m.scores[n] = found[0] * (o.scale * constant(dtype, LOG2_E))
                if o.has_bias != 0:
                    m.scores[n] = m.scores[n] + o.bias[row * o.bias_batch + head * o.bias_head + column] * constant(
                        dtype, LOG2_E
                    )
                if o.has_valid != 0:
                    m.scores[n] = T.Select(o.valid[row * o.keys + key], m.scores[n], constant(dtype, MINUS_INFINITY))

            @T.inline
            def weigh(n, position):
                at: T.int64 = row * o.v_batch + head * o.v_head + (residue + position * o.dilation) * o.v_time
                for k in T.serial(e):
                    out[k] = out[k] + m.scores[n] * o.v[at + k]

            w.each_key(o, head, residue, query, count, score)
            softmax(m.scores, count[0], total)
            b.fill(out, 0, e, zero)
            w.each_key(o, head, residue, query, count, weigh)
            if total[1] == zero:
                o.lse[begin + u] = constant(dtype, MINUS_INFINITY)
                b.fill(o.out, (begin + u) * e, e, zero)
            else:
                o.lse[begin + u] = (total[0] + T.log2(total[1])) * constant(dtype, LN_2)
                for k in T.serial(e):
                    o.out[(begin + u) * e + k] = out[k] / total[1]

    return seqmem_task


def one_row(b: SimpleNamespace):
    """Statements for a single row: a product of two vectors, and a softmax in place."""
    dtype, width = b.dtype, b.width

    @T.inline
    def dot(found, x, x_at, y, y_at, length):
        """``found[0] += x . y``."""
        sums = T.alloc_buffer((width,), dtype, scope="local")
        for lane in T.vectorized(width):
            sums[lane] = b.zero
        for v in T.unroll(length // width):
            for lane in T.vectorized(width):
                sums[lane] = sums[lane] + x[x_at + v * width + lane] * y[y_at + v * width + lane]
        for lane in T.unroll(width):
            found[0] = found[0] + sums[lane]
        for k in T.serial(length % width):
            found[0] = found[0] + x[x_at + length // width * width + k] * y[y_at + length // width * width + k]

    @T.inline
    def softmax(scores, count, total):
        """Scores become powers of two, ``total[0]`` their largest, ``total[1]`` the sum of the powers."""
        vectors: T.int64 = (count + width - 1) // width
        top = T.alloc_buffer((width,), dtype, scope="local")
        sums = T.alloc_buffer((width,), dtype, scope="local")
        b.fill(scores, count, vectors * width - count, constant(dtype, MINUS_INFINITY))
        for lane in T.vectorized(width):
            top[lane] = constant(dtype, LOWEST)
            sums[lane] = b.zero
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                top[lane] = T.max(top[lane], scores[v * width + lane])
        total[0] = constant(dtype, LOWEST)
        for lane in T.unroll(width):
            total[0] = T.max(total[0], top[lane])
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                scores[v * width + lane] = exp2(scores[v * width + lane] - total[0], dtype)
            for lane in T.vectorized(width):
                sums[lane] = sums[lane] + scores[v * width + lane]
        total[1] = b.zero
        for lane in T.unroll(width):
            total[1] = total[1] + sums[lane]

    return dot, softmax
