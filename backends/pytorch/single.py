"""Attention of one query, as generation asks for it: its band is a row of keys, which needs no tiles."""

import torch
from torch import Tensor

from seqmem.ops.backend import Attention
from seqmem.ops.pattern import Band

from . import flash


def takes(call: Attention) -> bool:
    """Whether this is a call for :func:`attend`."""
    return call.q.shape[1] == 1 and flash.takes(call)


def attend(call: Attention) -> tuple[Tensor, Tensor]:
    """``(out [B, 1, H, E], lse [B, 1, H])`` of a call on a Band that :func:`takes` accepts."""
    band, last = call.pattern, call.k.shape[1] - 1
    assert isinstance(band, Band)
    to_left = min(band.left, last // band.dilation)
    keys = slice(last - to_left * band.dilation, last + 1, band.dilation)
    added = _added_scores(call, keys, slice(band.left - to_left, band.left + 1))
    may_be_empty = call.valid is not None or call.bias is not None
    q, k, v = (tensor.transpose(1, 2) for tensor in (call.q, call.k[:, keys], call.v[:, keys]))
    out, lse = flash.softmax(q, k, v, added, call.scale, may_be_empty)
    return out.transpose(1, 2), lse.transpose(1, 2)


def _added_scores(call: Attention, keys: slice, columns: slice) -> Tensor | None:
    """``scale * qr.r + bias``, -inf for keys that are off: broadcastable to ``[B, H, 1, keys]``; None if there is none.

    Args:
        keys: those in the band.
        columns: of the band, theirs.
    """
    added = None
    if call.qr is not None and call.r is not None:
        products = torch.bmm(call.qr[:, 0].transpose(0, 1), call.r[columns].permute(1, 2, 0))
        added = products.mul_(call.scale).transpose(0, 1)[:, :, None]
    if call.bias is not None:
        bias = call.bias[..., columns].transpose(1, 2)
        added = bias if added is None else added + bias
    if call.valid is not None:
        off = ~call.valid[:, None, None, keys]
        added = call.q.new_zeros(()) if added is None else added
        added = added.masked_fill(off, -torch.inf)
    return added
