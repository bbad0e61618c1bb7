"""A kernel that writes into x[task] how many threads work on the tasks."""

from ..adapter import T


def define(spec):
    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        integers = T.decl_buffer((2,), "int64", data=data)
        x = T.decl_buffer((1 << 30,), "int64", data=T.reinterpret("handle", integers[1]))
        x[task] = T.Cast("int64", T.call_extern("int32", "omp_get_num_threads"))

    return seqmem_task
