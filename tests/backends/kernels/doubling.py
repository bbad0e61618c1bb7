"""A kernel for tests of what surrounds kernels: ``x[i] = 2 * x[i] + shift``, every n-th vector of x a task."""

from ..adapter import T


def define(spec):
    dtype, lanes = spec.dtype, spec.lanes

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        integers = T.decl_buffer((4,), "int64", data=data)
        reals = T.decl_buffer((4,), "float64", data=data)
        x = T.decl_buffer((1 << 30,), dtype, data=T.reinterpret("handle", integers[1]))
        for turn in T.serial((integers[2] - task + integers[0] - 1) // integers[0]):
            start: T.int64 = (task + turn * integers[0]) * lanes
            for lane in T.vectorized(lanes):
                x[start + lane] = T.Cast(dtype, 2) * x[start + lane] + T.Cast(dtype, reals[3])

    return seqmem_task
