"""Fused attention of one query, as in generation: every key is read once, where it lies, so nothing is packed."""

from types import SimpleNamespace

from ..adapter import T
from ..arguments import ATTEND, DTYPES
from ..spec import Spec
from .blocks import LN_2, LOG2_E, LOWEST, building_blocks, constant, exp2
from .scores import MINUS_INFINITY
from .walk import carve, keys_of, operands
from .workspace import attend_one_areas


def define(spec: Spec):
    """``out, lse`` of :class:`seqmem.ops.backend.Attention` for T = 1, without dropout."""
    b = building_blocks(spec)
    dtype, zero = b.dtype, b.zero
    d, e = spec.key_width, spec.value_width
    dot, softmax = one_row(b)

    def areas(o: SimpleNamespace, task) -> SimpleNamespace:
        return carve(o, task, attend_one_areas(spec, o.window), dtype)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, ATTEND, dtype, DTYPES))
        m = T.meta_var(areas(o, task))
        found = T.alloc_buffer((1,), dtype, scope="local")
        total = T.alloc_buffer((2,), dtype, scope="local")
        out = T.alloc_buffer((e,), dtype, scope="local")
        units: T.int64 = o.batch * o.heads
        begin: T.int64 = units * task // o.num_tasks
        residue: T.int64 = o.offset % o.dilation
        query: T.int64 = o.offset // o.dilation
        first: T.int64 = T.max(query - o.left, T.int64(0))
        count: T.int64 = T.min(query + o.right + 1, keys_of(o, residue)) - first
        column: T.int64 = first - o.shift * query + o.origin
        for u in T.serial(units * (task + 1) // o.num_tasks - begin):
            head: T.int64 = (begin + u) % o.heads
            row: T.int64 = (begin + u) // o.heads
            for n in T.serial(count):
                key: T.int64 = residue + (first + n) * o.dilation
                found[0] = zero
                dot(
                    found,
                    o.q,
                    row * o.q_batch + head * o.q_head,
                    o.k,
                    row * o.k_batch + head * o.k_head + key * o.k_time,
                    d,
                )
                if o.has_rel != 0:
                    dot(found, o.qr, row * o.qr_batch + head * o.qr_head, o.r, ((column + n) * o.heads + head) * d, d)
                m.scores[n] = found[0] * (o.scale * constant(dtype, LOG2_E))
                if o.has_bias != 0:
                    m.scores[n] = m.scores[n] + o.bias[row * o.bias_batch + head * o.bias_head + column + n] * constant(
                        dtype, LOG2_E
                    )
                if o.has_valid != 0:
                    m.scores[n] = T.Select(o.valid[row * o.keys + key], m.scores[n], constant(dtype, MINUS_INFINITY))
            softmax(m.scores, count, total)
            b.fill(out, 0, e, zero)
            for n in T.serial(count):
                at: T.int64 = row * o.v_batch + head * o.v_head + (residue + (first + n) * o.dilation) * o.v_time
                for k in T.serial(e):
                    out[k] = out[k] + m.scores[n] * o.v[at + k]
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
