"""From a :class:`KernelSpec` to machine code. Imports tvm; imported only where something must be compiled."""

import ctypes
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from seqmem.errors import SeqmemError

from . import entries
from .adapter import PrimFunc, assembly, compile_cpu, packed_function, write_object
from .spec import KernelSpec


def object_code(spec: KernelSpec) -> bytes:
    """Content of an object file with the C functions ``seqmem_task`` and ``seqmem_team``."""
    module = _compile(spec, entries.team())
    with tempfile.TemporaryDirectory(prefix="seqmem-compile-") as folder:
        path = Path(folder, "kernel.o")
        write_object(module, path)
        return path.read_bytes()


def task_in_memory(spec: KernelSpec) -> Callable[[bytes, int], None]:
    """``seqmem_task(data, task)`` without a linker."""
    packed = packed_function(_compile(spec, entries.packed()), "seqmem_packed")

    def run(data: bytes, task: int) -> None:
        packed(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value, task)

    return run


def assembly_text(spec: KernelSpec) -> str:
    """The kernel in assembly language, of whatever machine the spec's instruction set belongs to."""
    return assembly(_compile(spec))


def _compile(spec: KernelSpec, *beside: PrimFunc) -> Any:
    try:
        task = import_module(f".kernels.{spec.kernel}", __package__).define(spec)
        return compile_cpu([task, *beside], spec.isa)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise SeqmemError(f"TVM cannot compile {spec}: {type(error).__name__}: {reason}; please report it") from error
