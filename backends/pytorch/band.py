"""Tier 0 by chunked GEMMs in O(T * C) memory: dense products per span, diagonals read and written by strides."""

import torch
from torch import Tensor

from seqmem.ops.backend import accumulation_dtype
from seqmem.ops.pattern import Band

from .spans import Span, as_dense, spans

CHUNK_QUERIES = 128


def band_qk(q: Tensor, k: Tensor, band: Band) -> Tensor:
    """``q [B, T, H, D], k [B, S, H, D] -> [B, T, H, C]`` unscaled, 0 outside the keys."""
    dtype = accumulation_dtype(q.dtype)
    out = q.new_zeros(*q.shape[:3], band.num_columns, dtype=dtype)
    for span in spans(band, q.shape[1], k.shape[1], CHUNK_QUERIES):
        products = q[:, span.queries].to(dtype).transpose(1, 2) @ k[:, span.keys].to(dtype).transpose(1, 2).mT
        diagonals = products.new_zeros(*products.shape[:3], span.num_diagonals)
        as_dense(diagonals, span.num_keys).copy_(products)
        inside, columns = span.inside(band.num_columns), span.columns(band.num_columns)
        out[:, span.queries, :, columns] = diagonals[..., inside].transpose(1, 2)
    return out


def band_pv(p: Tensor, v: Tensor, band: Band) -> Tensor:
    """``p [B, T, H, C], v [B, S, H, E] -> [B, T, H, E]``; p outside the keys is ignored."""
    dtype = accumulation_dtype(v.dtype)
    out = v.new_empty(*p.shape[:3], v.shape[3])
    for span in spans(band, p.shape[1], v.shape[1], CHUNK_QUERIES):
        weights = _dense_weights(p, band, span, dtype)
        out[:, span.queries] = (weights @ v[:, span.keys].to(dtype).transpose(1, 2)).transpose(1, 2)
    return out


def band_pv_t(p: Tensor, g: Tensor, band: Band, num_keys: int) -> Tensor:
    """``p [B, T, H, C], g [B, T, H, E] -> [B, S, H, E]``; p outside the keys is ignored."""
    dtype = accumulation_dtype(g.dtype)
    out = g.new_zeros(g.shape[0], num_keys, *g.shape[2:], dtype=dtype)
    for span in spans(band, p.shape[1], num_keys, CHUNK_QUERIES):
        weights = _dense_weights(p, band, span, dtype)
        out[:, span.keys] += (weights.mT @ g[:, span.queries].to(dtype).transpose(1, 2)).transpose(1, 2)
    return out.to(g.dtype)


def _dense_weights(p: Tensor, band: Band, span: Span, dtype: torch.dtype) -> Tensor:
    """The span's dense ``[B, H, n, m]`` of ``p``, 0 off the band; what lies outside the keys is never read."""
    part = p[:, span.queries].transpose(1, 2)
    diagonals = torch.zeros(*part.shape[:3], span.num_diagonals, dtype=dtype, device=p.device)
    diagonals[..., span.inside(band.num_columns)] = part[..., span.columns(band.num_columns)].to(dtype)
    return as_dense(diagonals, span.num_keys)
