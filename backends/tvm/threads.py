"""Runs a kernel's tasks on the threads torch itself computes with, so that no second team competes for the cores."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


class _SymbolInfo(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("at", ctypes.c_void_p),
    )


@cache
def fork() -> Callable[[int, bytes, int, int], None] | None:
    """``GOMP_parallel(function, data, num_threads, flags)`` of the OpenMP runtime torch runs on; None if it has none.

    It is looked for in the order in which torch's own libraries find it: first what the process itself has loaded,
    which a preloaded runtime is part of, then what torch brings along. The runtime's names become visible to kernels.
    """
    for library in (ctypes.CDLL(None), ctypes.CDLL(torch._C.__file__)):
        if hasattr(library, "GOMP_parallel"):
            info = _SymbolInfo()
            ctypes.CDLL(None).dladdr(ctypes.cast(library.GOMP_parallel, ctypes.c_void_p), ctypes.byref(info))
            ctypes.CDLL(info.path.decode(), mode=ctypes.RTLD_GLOBAL)
            library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
            library.GOMP_parallel.restype = None
            return library.GOMP_parallel
    return None


def run_on_team(team: int, data: bytes, num_threads: int) -> None:
    """Let ``num_threads`` of torch's threads run the C function at address ``team``."""
    parallel = fork()
    assert parallel is not None
    parallel(team, data, num_threads, 0)


def run_on_python_threads(task: Callable[[bytes, int], None], data: bytes, num_tasks: int) -> None:
    """Where there is no OpenMP runtime or no linker: threads of this call's own, which let go of the interpreter."""
    with ThreadPoolExecutor(num_tasks) as pool:
        for _ in pool.map(task, [data] * num_tasks, range(num_tasks)):
            pass
