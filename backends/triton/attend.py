"""Fused attention on tensors."""

from typing import Any

from torch import Tensor

from seqmem.ops.backend import Attention, accumulation_dtype

from .kernels.attend import attend as kernel
from .launch import Launch, num_blocks
from .operands import Operands, Rows, Sizes


def attend(call: Attention) -> tuple[Tensor, Tensor]:
    """See :meth:`AttentionBackend.attend`."""
    out = call.v.new_empty(*call.q.shape[:3], call.v.shape[3])
    lse = call.q.new_empty(call.q.shape[:3], dtype=accumulation_dtype(call.q.dtype))
    launch = launch_of(kernel, call)
    launch(query_grid(launch, call), Rows.of(out), lse, Operands.of(call), Sizes.of(call))
    return out, lse


def launch_of(kernel: Any, call: Attention) -> Launch:
    """One of the kernels of attention, for the operands of ``call``."""
    return Launch.of(kernel, call.pattern, call.q.dtype, call.q.shape[3], call.v.shape[3], call.r is not None)


def query_grid(launch: Launch, call: Attention) -> tuple[int, int]:
    """A program for every block of queries of every head."""
    batch_size, num_queries, num_heads, _ = call.q.shape
    return num_blocks(num_queries, launch.form.queries, launch.form.dilation), batch_size * num_heads
