"""A kernel that copies its slots into x, of which the address is in slot 1: number of tasks, then slots 2 to 4."""

from ..adapter import T


def define(spec):
    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        slots = T.decl_buffer((5,), "int64", data=data)
        x = T.decl_buffer((4,), "int64", data=T.reinterpret("handle", slots[1]))
        x[0] = slots[0]
        for i in T.serial(3):
            x[i + 1] = slots[i + 2]

    return seqmem_task
