"""What the compiler says of kernels for a GPU that is not here."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

SHARED_BYTES = {80: 163 << 10, 90: 227 << 10}
"""Shared memory a program can have, by architecture (CUDA C++ Programming Guide, compute capabilities)."""


class Absent:
    """Stands for the driver of a GPU that is not here."""

    def __init__(self, architecture: int):
        self.target = GPUTarget("cuda", architecture, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        """A number for each architecture: what is compiled for one device is not for another."""
        return self.target.arch

    def get_current_stream(self, device: int) -> int:
        return 0


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes.

    Args:
        shared: bytes of shared memory, of a program.
        registers: of a thread.
        stack: bytes of a thread's stack, to which registers are spilled.
    """

    shared: int
    registers: int
    stack: int


def compiled(
    architecture: int,
    kernel: Any,
    grid: tuple[int, ...],
    arguments: Sequence[Any],
    constants: dict[str, Any],
    warps: int,
    stages: int = 2,
) -> Any:
    """What Triton makes of a kernel that :func:`seqmem.backends.triton.launch.queue` would start.

    From then on this process launches nothing: Triton takes the GPU for the one that is here.
    """
    driver.set_active(Absent(architecture))
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    return kernel.warmup(*arguments, **constants, grid=grid, **options)


def usage(compiled_kernel: Any) -> Usage:
    """What the assembler says of what :func:`compiled` gives."""
    tool = Path(triton.__file__).with_name("backends") / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled_kernel.asm["cubin"])
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"\b(REG|STACK):(\d+)", text))
    return Usage(compiled_kernel.metadata.shared, int(found["REG"]), int(found["STACK"]))
