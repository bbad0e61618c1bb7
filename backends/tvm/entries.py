"""What is compiled beside a kernel, so that its tasks can be run: by a team of threads, or one by one from Python.

A kernel is ``seqmem_task(data, task)``. ``data`` holds 64-bit slots, the number of tasks first.
"""

from .adapter import PrimFunc, T


def team() -> PrimFunc:
    """``seqmem_team(data)``: what each thread of an OpenMP team runs, however many there are."""

    @T.prim_func(s_tir=True)
    def seqmem_team(data: T.handle):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_team"})
        slots = T.decl_buffer((1,), "int64", data=data)
        thread: T.int32 = T.call_extern("int32", "omp_get_thread_num")
        num_threads: T.int32 = T.call_extern("int32", "omp_get_num_threads")
        for turn in T.serial((T.Cast("int32", slots[0]) - thread + num_threads - 1) // num_threads):
            T.evaluate(T.call_extern("void", "seqmem_task", data, thread + turn * num_threads))

    return seqmem_team


def packed() -> PrimFunc:
    """The kernel as TVM calls it, ``(address of data, task)``: a value is the second half of each 16 bytes."""

    @T.prim_func(s_tir=True)
    def seqmem_packed(self: T.handle, arguments: T.handle, num_arguments: T.int32, result: T.handle) -> T.int32:
        T.func_attr({"calling_conv": 1, "global_symbol": "__tvm_ffi_seqmem_packed"})
        slots = T.decl_buffer((4,), "int64", data=arguments)
        none = T.decl_buffer((2,), "int64", data=result)
        T.evaluate(T.call_extern("void", "seqmem_task", T.reinterpret("handle", slots[1]), T.Cast("int32", slots[3])))
        none[0] = T.int64(0)
        none[1] = T.int64(0)
        return T.int32(0)

    return seqmem_packed
