"""The forward pass of tiles by the CPU kernel beneath ``scaled_dot_product_attention``, which returns lse as well.

The kernel takes what is added to the scores as its mask, but not its gradient, so the backward pass is the tiles' own.
It knows neither dropout of ours nor values wider than keys, takes any last stride for 1, and reports an lse of 0 for a
query without keys.
"""

import torch
from torch import Tensor

from seqmem.ops.backend import Attention

from .tiles import tiles

KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def takes(call: Attention) -> bool:
    """Whether the kernel computes this call."""
    plain = not call.dropout and call.k.shape[3] == call.v.shape[3]
    return plain and call.q.device.type == "cpu" and call.q.dtype in (torch.float32, torch.float64)


def attend(call: Attention) -> tuple[Tensor, Tensor]:
    """``(out [B, T, H, E], lse [B, T, H])`` of a call on a Band that :func:`takes` accepts."""
    out = torch.empty_like(call.q, memory_format=torch.contiguous_format)
    lse = call.q.new_empty(call.q.shape[:3])
    may_be_empty = call.valid is not None or call.bias is not None
    for tile in tiles(call):
        q, k, v, mask = (
            tensor.unflatten(0, (-1, call.q.shape[2]))
            for tensor in (tile.q, tile.k, tile.v, tile.initial_scores(tile.scratch("scores")))
        )
        part, part_lse = softmax(q, k, v, mask, call.scale, may_be_empty)
        out[tile.rows, tile.queries] = part.transpose(1, 2)
        lse[tile.rows, tile.queries] = part_lse.transpose(1, 2)
    return out, lse


def softmax(
    q: Tensor, k: Tensor, v: Tensor, added: Tensor | None, scale: float, may_be_empty: bool
) -> tuple[Tensor, Tensor]:
    """Attention in the kernel's layout, ``[B, H, T, D]``, under scores ``scale * q.k + added``, ``[B, H, T, S]``."""
    q, k, v = _with_unit_stride(q), _with_unit_stride(k), _with_unit_stride(v)
    out, lse = KERNEL(q, k, v, attn_mask=added if added is None else _with_unit_stride(added), scale=scale)
    if added is not None and may_be_empty:
        empty = added.amax(-1) == -torch.inf
        out, lse = out.masked_fill(empty[..., None], 0), lse.masked_fill(empty, -torch.inf)
    return out, lse


def _with_unit_stride(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
