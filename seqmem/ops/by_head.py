"""Bands that differ by head: a call is computed group by group, each of heads whose band is the same."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seqmem.ops.backend import Attention
from seqmem.ops.pattern import Band, HeadGroup, head_groups


def heads(tensor: Tensor, group: HeadGroup) -> Tensor:
    """A group's heads of ``[B, T, H, ...]``, or of a bias broadcast over heads."""
    return tensor if tensor.shape[2] == 1 and group.heads != slice(0, 1, 1) else tensor[:, :, group.heads]


def of_heads(call: Attention, group: HeadGroup) -> Attention:
    """The part of a call on a per-head band that a group computes."""
    bias = None if call.bias is None else heads(call.bias, group)[..., group.columns]
    qr = None if call.qr is None else heads(call.qr, group)
    r = None if call.r is None else call.r[group.columns, group.heads]
    keys = None if call.dropout_keys is None else call.dropout_keys[:, group.heads]
    q, k, v = (heads(tensor, group) for tensor in (call.q, call.k, call.v))
    return Attention(q, k, v, group.band, call.scale, bias, qr, r, call.valid, call.dropout, keys)


def assemble(
    band: Band,
    num_heads: int,
    part: Callable[[HeadGroup], Tensor],
    finish: Callable[[Tensor, HeadGroup], Tensor] = lambda tensor, group: tensor,
) -> Tensor:
    """Compute a band operation group by group, and put the heads back in order."""
    groups = head_groups(band, num_heads)
    parts = [finish(part(group), group) for group in groups]
    return interleaved(parts, groups, num_heads)


def interleaved(parts: Sequence[Tensor], groups: list[HeadGroup], num_heads: int) -> Tensor:
    """The groups' parts with their heads back in order."""
    if len(groups) == 1:
        return parts[0]
    order = torch.cat([torch.arange(num_heads)[group.heads] for group in groups])
    return torch.cat([*parts], 2)[:, :, order.argsort().to(parts[0].device)]


def widened(scores: Tensor, group: HeadGroup, num_columns: int) -> Tensor:
    """A group's columns at their place among the hull's, 0 around them."""
    return torch.nn.functional.pad(scores, (group.columns.start, num_columns - group.columns.stop))
