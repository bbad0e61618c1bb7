"""Every name of TVM that upstream may rename. Imports tvm, so only what compiles may import this file.

``T`` is the language kernels are written in, ``PrimFunc`` what they are.
"""

import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def _excepthook_kept() -> Iterator[None]:
    """Importing tvm installs a hook that ends all child processes after an uncaught error; put the old one back."""
    hook = sys.excepthook
    yield
    sys.excepthook = hook


with _excepthook_kept():
    import tvm
    from tvm import s_tir, tirx
    from tvm.s_tir import Schedule as CudaSchedule
    from tvm.script import tirx as T
    from tvm.script.parser.core.parser import ScriptMacro
    from tvm.tirx import PrimFunc

__all__ = [
    "CudaSchedule",
    "PrimFunc",
    "T",
    "assembly",
    "compile_cpu",
    "cpu_target",
    "cuda_source",
    "packed_function",
    "write_object",
]


def _find_parser(macro: ScriptMacro) -> Any:
    """The parser at work, found in the frames above: TVM's own search reads the source of every frame, 0.2 s a call."""
    frame = sys._getframe()
    while frame is not None:
        if (parser := frame.f_globals.get(macro.parser_object_name)) is not None:
            return parser
        frame = frame.f_back  # type: ignore[assignment]
    raise RuntimeError(f"{macro.parser_object_name} is in no frame")


ScriptMacro._find_parser_def = _find_parser

CPUS = {
    "avx512": ("x86_64", "x86-64-v4"),
    "avx2": ("x86_64", "x86-64-v3"),
    "neon": ("aarch64", "generic"),
    "generic": ("", "generic"),
}
"""By instruction set: architecture and LLVM's processor. Never the host's own, so that machines may share a cache."""


def cpu_target(isa: str) -> Any:
    """LLVM target of an instruction set, which may be another machine's; then only its code can be looked at."""
    architecture, cpu = CPUS[isa]
    machine = platform.machine().lower()
    host = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    triple = {} if architecture in ("", host) else {"mtriple": f"{architecture}-unknown-linux-gnu"}
    return tvm.target.Target({"kind": "llvm", "mcpu": cpu, "opt-level": 2} | triple)


def compile_cpu(functions: Sequence[PrimFunc], isa: str) -> Any:
    """A module of machine code. Functions with ``calling_conv`` 2 become plain C functions under their names.

    The passes are those that hand-written loops need: no scheduling, no checks of arguments, no parallel runtime.
    """
    target = cpu_target(isa)
    module = tvm.IRModule({str(function.attrs["global_symbol"]): function for function in functions})
    passes = [
        tirx.transform.BindTarget(target.with_host(target)),
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        tirx.transform.LowerIntrin(),
    ]
    with tvm.transform.PassContext(opt_level=3):
        for each in passes:
            module = each(module)
        return tvm.get_global_func("target.build.llvm")(module, target)


def write_object(module: Any, path: Path) -> None:
    """Write a compiled module as an object file for the linker; ``path`` ends in ``.o``."""
    module.write_to_file(str(path))


def assembly(module: Any) -> str:
    """What a compiled module says in assembly language."""
    return module.inspect_source("s")


def packed_function(module: Any, name: str) -> Any:
    """A function with ``calling_conv`` 1, compiled into memory; ``name`` without the ``__tvm_ffi_`` of its symbol."""
    return module[name]


# CUDA, for which TVM's own pipeline is used: schedules leave it shared memory and barriers to work out.


def cuda_source(module: Any, arch: str) -> str:
    """CUDA source of a module's scheduled functions, without TVM's preamble (its includes are in no torch wheel).

    Integers that could be computed before the launch are not: a kernel's parameters are those of its definition.
    """
    target = tvm.target.Target({"kind": "cuda", "arch": arch})
    with tvm.transform.PassContext(config={"tirx.disable_cse_tir": True}), _source_only():
        source = tvm.compile(module, target=target).mod.imports[0].inspect_source()
    return source[source.index('extern "C"') :]


@contextmanager
def _source_only() -> Iterator[None]:
    """Where there is a GPU, TVM would compile what it emits, by headers that torch's wheels lack."""
    name = "tvm_callback_cuda_compile"
    compile_cuda = tvm.get_global_func(name)
    tvm.register_global_func(name, lambda code: bytearray(b" "), override=True)
    try:
        yield
    finally:
        tvm.register_global_func(name, compile_cuda, override=True)
