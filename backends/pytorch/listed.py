"""The forward pass of attention on Blocks by the CPU kernel of :mod:`.flash`, in the steps of the default."""

import torch
from torch import Tensor

from seqmem.ops.backend import Attention
from seqmem.ops.block_lists import BlockedCall

from . import flash


def attend(call: Attention) -> tuple[Tensor, Tensor]:
    """``(out [B, T, H, E], lse [B, T, H])`` of a call on Blocks that :func:`.flash.takes` accepts."""
    cut = BlockedCall(call)
    out, lse = torch.empty_like(cut.call.q), cut.call.q.new_empty(cut.call.q.shape[:3])
    for step in cut.steps():
        mask = step.mask()
        q, k, v = step.q[:, None], step.k[:, None], step.v[:, None]
        part, part_lse = flash.softmax(q, k, v, mask if mask is None else mask[:, None], call.scale, may_be_empty=True)
        out[step.rows], lse[step.rows] = part.transpose(1, 2), part_lse.transpose(1, 2)
    return cut.joined(out), cut.joined(lse)
