"""What a CPU kernel is compiled for: everything its code depends on, nothing that changes from call to call."""

import platform
from dataclasses import dataclass

from .tiles import Tiles

VECTOR_BYTES = {"avx512": 64, "avx2": 32, "neon": 16, "generic": 16}
ITEM_BYTES = {"float32": 4, "float64": 8}


class KernelSpec:
    """One kernel to compile. Lengths, strides and windows are arguments of the compiled code, never part of it.

    Attributes:
        kernel: name of a module in ``kernels``, whose ``define(spec)`` gives the TIR.
        dtype: ``"float32"`` or ``"float64"``.
        isa: the instruction set, a key of :data:`VECTOR_BYTES`.
    """

    kernel: str
    dtype: str
    isa: str

    @property
    def lanes(self) -> int:
        """Numbers in a vector register."""
        return VECTOR_BYTES[self.isa] // ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Spec(KernelSpec):
    """A kernel of attention.

    Args:
        key_width: D, numbers in a row of the queries and keys.
        value_width: E, numbers in a row of the values.
        tiles: how the kernel cuts its work.
    """

    kernel: str
    dtype: str
    key_width: int
    value_width: int
    tiles: Tiles
    isa: str

    def __post_init__(self):
        if self.tiles.queries % self.tiles.rows or self.tiles.keys % self.columns:
            raise ValueError(f"{self}: queries must be a multiple of rows, keys of {self.columns}")

    @property
    def columns(self) -> int:
        """Numbers in a row of the register tile."""
        return self.tiles.vectors * self.lanes


SUMS = {"avx512": 16, "avx2": 8, "neon": 16, "generic": 8}
"""Vectors of sums that a generation loop keeps in registers; enough others are left for weights and inputs."""


@dataclass(frozen=True)
class LoopSpec(KernelSpec):
    """A generation loop. Layers, dilations and the number of ids are arguments.

    Args:
        channels: C, between layers.
        gates: G, filters of a layer.
        skip: S, what layers add up for the head.
        hidden: of the head.
        choices: classes of a phase, or logistics.
        taps: K of a layer.
        first_taps: K of the first convolution.
        kind: of distribution, as :class:`seqmem.ops.loop.ConvolutionProgram` has it.
        streams: that go through the layers together, so that a weight is loaded once for all of them.
    """

    kernel: str
    dtype: str
    isa: str
    channels: int
    gates: int
    skip: int
    hidden: int
    choices: int
    taps: int
    first_taps: int
    kind: str
    streams: int

    def padded(self, count: int) -> int:
        """``count`` rounded up to whole vectors."""
        return -(-count // self.lanes) * self.lanes

    def block(self, width: int) -> int:
        """How many of a product's ``width`` outputs are summed at a time: whole vectors, few left over at the end."""
        vectors = width // self.lanes
        num_blocks = -(-vectors * self.streams // SUMS[self.isa])
        return -(-vectors // num_blocks) * self.lanes

    @property
    def head_width(self) -> int:
        """Numbers in a row of the head: whole vectors of logits, and of means and log-scales where there are such."""
        return self.padded(self.choices) * (1 if self.kind == "softmax" else 3)


def host_isa() -> str:
    """The widest instruction set this machine has; torch's ``ATEN_CPU_CAPABILITY`` lowers it here as well."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "neon"
    import torch  # the process that compiles has none

    capability = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": "avx512", "AVX2": "avx2"}.get(capability, "generic")
