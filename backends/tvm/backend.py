"""The backend of compiled diagonal-matmul kernels: fused on CPUs, band kernels on GPUs."""

from types import MappingProxyType

import torch
from torch import Tensor

from seqmem.ops.backend import Attention, AttentionBackend, Gradients, Signature
from seqmem.ops.loop import ConvolutionProgram, Loop
from seqmem.ops.pattern import Band
from seqmem.ops.step import AttendingStep, Step, StepProgram

from . import cpu, cuda, nvidia
from .loop import GatedLoop
from .tiles import Tiles


class TVMBackend(AttentionBackend):
    """Kernels that TVM compiles for the machine at hand, on first use, once.

    Args:
        tiles: in place of the tuned ones; for tuning.
    """

    name = "tvm"
    dtypes = cuda.DTYPES
    devices = ("cpu", "cuda")
    attend_patterns = ("Band", "Dense", "Blocks")
    auto_rank = MappingProxyType({"cpu": 1})

    def __init__(self, tiles: Tiles | None = None):
        self._tiles = tiles

    def unsupported(self, call: Signature) -> list[str]:
        reasons = super().unsupported(call)
        if call.device == "cpu" and call.dtype not in (torch.float32, torch.float64):
            reasons.append(f"dtype {str(call.dtype).removeprefix('torch.')} is not among float32, float64 on cpu")
        if call.device == "cuda":
            reasons += [reason] if (reason := nvidia.unavailable()) else []
            only_cpu = call.op in ("attend", "compile_step", "compile_loop")
            reasons += [f"its {call.op} is for cpu; on cuda it has the band kernels"] if only_cpu else []
        return reasons

    def band_qk(self, q: Tensor, k: Tensor, band: Band) -> Tensor:
        return cuda.band_qk(q, k, band) if q.is_cuda else cpu.band_qk(q, k, band, self._tiles)

    def band_pv(self, p: Tensor, v: Tensor, band: Band) -> Tensor:
        return cuda.band_pv(p, v, band) if v.is_cuda else cpu.band_pv(p, v, band, self._tiles)

    def band_pv_t(self, p: Tensor, g: Tensor, band: Band, num_keys: int) -> Tensor:
        if g.is_cuda:
            return cuda.band_pv_t(p, g, band, num_keys)
        return cpu.band_pv_t(p, g, band, num_keys, self._tiles)

    def attend(self, call: Attention) -> tuple[Tensor, Tensor]:
        return cpu.attend(call, self._tiles)

    def attend_backward(self, call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor) -> Gradients:
        return cpu.attend_backward(call, out, lse, dout, dlse, self._tiles)

    def compile_step(self, program: StepProgram) -> Step:
        """A generation step whose Band work is one compiled call a layer."""
        return AttendingStep(program, self.attend)

    def compile_loop(self, program: ConvolutionProgram) -> Loop:
        """Generation without returning to Python between tokens."""
        return GatedLoop(program)
