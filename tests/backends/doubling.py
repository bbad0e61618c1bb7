"""A kernel for tests of what surrounds kernels: ``x[i] = 2 * x[i] + shift`` for i < length, a task every n-th i."""

KERNEL = "doubling"


def define(spec):
    from seqmem.backends.tvm.adapter import T

    dtype = spec.dtype

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        integers = T.decl_buffer((4,), "int64", data=data)
        reals = T.decl_buffer((4,), "float64", data=data)
        x = T.decl_buffer((1 << 30,), dtype, data=T.reinterpret("handle", integers[1]))
        num_tasks: T.int64 = integers[0]
        for turn in T.serial((integers[2] - T.Cast("int64", task) + num_tasks - 1) // num_tasks):
            i: T.int64 = turn * num_tasks + T.Cast("int64", task)
            x[i] = T.Cast(dtype, 2) * x[i] + T.Cast(dtype, reals[3])

    return seqmem_task
