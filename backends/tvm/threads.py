"""Runs a kernel's tasks on the threads torch itself computes with, so that no second team competes for the cores."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

Task = Callable[[bytes, int], None]
"""``seqmem_task(data, task)`` of a kernel: does one share of the work that ``data`` describes."""
Parallel = Callable[[int, bytes, int, int], None]
"""``GOMP_parallel(function, data, num_threads, flags)``: all threads of a team call the C function with the data."""


class _SymbolInfo(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


@cache
def team_of_torch() -> Parallel | None:
    """The way into the OpenMP runtime that torch computes with, whose names kernels see from now on; None without one.

    The search goes as that of torch's own libraries does: first the process, which has a preloaded runtime, then what
    torch brings along.
    """
    process = ctypes.CDLL(None)
    for library in (process, ctypes.CDLL(torch._C.__file__)):
        if hasattr(library, "GOMP_parallel"):
            parallel, found = library.GOMP_parallel, _SymbolInfo()
            process.dladdr(ctypes.cast(parallel, ctypes.c_void_p), ctypes.byref(found))
            ctypes.CDLL(found.path.decode(), mode=ctypes.RTLD_GLOBAL)
            parallel.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
            parallel.restype = None
            return parallel
    return None


def run_on_threads_of_python(task: Task, data: bytes, num_tasks: int) -> None:
    """For kernels that no team can run. They let go of the interpreter while they compute."""
    with ThreadPoolExecutor(num_tasks) as pool:
        list(pool.map(task, [data] * num_tasks, range(num_tasks)))
