"""Attention as a chain of differentiable operations: slower and O(T * C) in memory, but differentiable twice."""

import torch
from torch import Tensor

from seqmem.ops import autograd, dropout
from seqmem.ops.backend import Attention, accumulation_dtype
from seqmem.ops.named_keys import NamedKeys
from seqmem.ops.pattern import Band


def attend(call: Attention, backend: str) -> tuple[Tensor, Tensor]:
    """``(out, lse)`` as fused attention has it; ``backend`` computes the band kernels."""
    band = call.pattern
    if not isinstance(band, Band):
        return _attend_named(call)
    numbers = (band.left, band.right, band.dilation)
    num_queries, num_keys = call.q.shape[1], call.k.shape[1]
    dtype = accumulation_dtype(call.q.dtype)
    products = autograd.band_qk(call.q, call.k, *numbers, backend)
    if call.r is not None and call.qr is not None:
        products = products + torch.einsum("bthd,chd->bthc", call.qr.to(dtype), call.r.to(dtype))
    position = torch.arange(num_queries, device=call.q.device) + num_keys - num_queries
    index = position[:, None] + band.offsets(call.q.device)
    seen = band.columns_inside(num_queries, num_keys, call.q.device)
    if call.valid is not None:
        seen = seen & call.valid[:, index.clamp(0, num_keys - 1)]
    probs, lse = _softmax(call, products, seen.unsqueeze(-2), index[:, None])
    return autograd.band_pv(probs, call.v, *numbers, backend), lse


def _attend_named(call: Attention) -> tuple[Tensor, Tensor]:
    dtype = accumulation_dtype(call.q.dtype)
    keys = NamedKeys.of(call)
    products = torch.einsum("bthd,bshd->bths", call.q.to(dtype), keys.k.to(dtype))
    seen = torch.ones((), dtype=torch.bool, device=call.q.device) if keys.seen is None else keys.seen.transpose(1, 2)
    index = torch.arange(keys.k.shape[1], device=call.q.device) if keys.index is None else keys.index[:, None]
    probs, lse = _softmax(call, products, seen, index)
    return torch.einsum("bths,bshe->bthe", probs, keys.v.to(dtype)).to(call.v.dtype), lse


def _softmax(call: Attention, products: Tensor, seen: Tensor, key_index: Tensor) -> tuple[Tensor, Tensor]:
    scores = products * call.scale
    if call.bias is not None:
        scores = scores + call.bias.to(scores.dtype)
    scores = scores.masked_fill(~seen, -torch.inf)
    empty = scores.detach().amax(-1, keepdim=True) == -torch.inf
    # Rows without keys are computed as if all scores were 0, then erased: no NaN reaches the graph.
    lse = scores.masked_fill(empty, 0).logsumexp(-1, keepdim=True)
    probs = (scores - lse).exp().masked_fill(empty, 0)
    if call.dropout:
        assert call.dropout_keys is not None
        query = torch.arange(products.shape[1], device=products.device)[:, None, None]
        kept = dropout.keep(call.dropout_keys[:, None, :, None], query, key_index, call.dropout)
        probs = probs * kept / (1 - call.dropout)
    return probs, lse.masked_fill(empty, -torch.inf).squeeze(-1)
