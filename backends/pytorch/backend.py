"""The backend that works everywhere torch does."""

from types import MappingProxyType

import torch
from torch import Tensor

from seqmem.ops import block_lists
from seqmem.ops.backend import Attention, AttentionBackend, Gradients
from seqmem.ops.blockwise import attend_blocks, attend_blocks_backward
from seqmem.ops.loop import ConvolutionProgram, Loop
from seqmem.ops.pattern import Band, Blocks
from seqmem.ops.queue_loop import QueueLoop
from seqmem.ops.step import AttendingStep, Step, StepProgram

from . import band, flash, listed, single
from .tiles import tiles


class PyTorchBackend(AttentionBackend):
    """Chunked GEMMs: tier 0 in O(T * C) memory, fused attention in O(T * D)."""

    name = "pytorch"
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    devices = ("cpu", "cuda")
    attend_patterns = ("Band", "Blocks")
    auto_rank = MappingProxyType({"cpu": 0, "cuda": 0})

    def band_qk(self, q: Tensor, k: Tensor, band_: Band) -> Tensor:
        return band.band_qk(q, k, band_)

    def band_pv(self, p: Tensor, v: Tensor, band_: Band) -> Tensor:
        return band.band_pv(p, v, band_)

    def band_pv_t(self, p: Tensor, g: Tensor, band_: Band, num_keys: int) -> Tensor:
        return band.band_pv_t(p, g, band_, num_keys)

    def attend(self, call: Attention) -> tuple[Tensor, Tensor]:
        if isinstance(call.pattern, Blocks):
            return listed.attend(call) if flash.takes(call) else block_lists.attend(call)
        if single.takes(call):
            return single.attend(call)
        return flash.attend(call) if flash.takes(call) else attend_blocks(call, tiles(call))

    def attend_backward(self, call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor) -> Gradients:
        if isinstance(call.pattern, Blocks):
            return block_lists.attend_backward(call, out, lse, dout, dlse)
        return attend_blocks_backward(call, tiles(call), out, lse, dout, dlse)

    def compile_step(self, program: StepProgram) -> Step:
        return AttendingStep(program, self.attend)

    def compile_loop(self, program: ConvolutionProgram) -> Loop:
        return QueueLoop(program)
