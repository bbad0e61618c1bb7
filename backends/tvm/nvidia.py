"""NVIDIA's compiler and driver, through the bindings that torch's CUDA builds bring along."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

from seqmem.errors import SeqmemError

HEADERS = {"half": "cuda_fp16.h", "nv_bfloat16": "cuda_bf16.h"}
"""Where the types are declared that CUDA does not know by itself."""


@cache
def unavailable() -> str | None:
    """Why nothing can be compiled for a GPU here, with what mends it; None if it can."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError):
        return "NVIDIA's runtime compiler is missing; install a torch built for CUDA"
    return None


def compiler_version() -> str:
    from cuda.bindings import nvrtc

    return ".".join(map(str, _checked(nvrtc.nvrtcVersion())))


def compile_cubin(source: str, arch: str) -> tuple[bytes, str]:
    """Machine code for an architecture such as ``"sm_90"``, and what the assembler reports about registers and memory.

    Raises:
        SeqmemError: the source does not compile.
    """
    from cuda.bindings import nvrtc

    includes = "".join(f"#include <{header}>\n" for kind, header in HEADERS.items() if f"{kind}* " in source)
    program = _checked(nvrtc.nvrtcCreateProgram((includes + source).encode(), b"bands.cu", 0, [], []))[0]
    options = [f"--gpu-architecture={arch}", "--ptxas-options=-v", *_include_folders()]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
    log = bytearray(_checked(nvrtc.nvrtcGetProgramLogSize(program))[0])
    _checked(nvrtc.nvrtcGetProgramLog(program, log))
    report = log.rstrip(b"\0\n ").decode()
    if failed:
        raise SeqmemError(f"a kernel does not compile for {arch}: {report.splitlines()[0]}")
    cubin = bytearray(_checked(nvrtc.nvrtcGetCUBINSize(program))[0])
    _checked(nvrtc.nvrtcGetCUBIN(program, cubin))
    _checked(nvrtc.nvrtcDestroyProgram(program))
    return bytes(cubin), report


def load(cubin: bytes, symbol: str) -> Any:
    """The kernel's handle in the current context; the module stays loaded as long as the process."""
    from cuda.bindings import driver

    module = _checked(driver.cuModuleLoadData(cubin))[0]
    return _checked(driver.cuModuleGetFunction(module, symbol.encode()))[0]


def launch(
    function: Any,
    grid: tuple[int, int, int],
    num_threads: int,
    stream: int,
    pointers: Sequence[int],
    sizes: Sequence[int],
) -> None:
    """Queue a kernel whose parameters are the pointers and then 32-bit integers."""
    from cuda.bindings import driver

    kinds = (ctypes.c_void_p,) * len(pointers) + (ctypes.c_int,) * len(sizes)
    _checked(driver.cuLaunchKernel(function, *grid, num_threads, 1, 1, 0, stream, ((*pointers, *sizes), kinds), 0))


def _include_folders() -> list[str]:
    from cuda.pathfinder import find_nvidia_header_directory

    folder = find_nvidia_header_directory("cudart")
    return [f"--include-path={folder}"] if folder else []


def _checked(returned: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of a call, whose status comes first."""
    status, *values = returned
    if status:
        raise RuntimeError(f"CUDA call failed: {status!r}")
    return tuple(values)
