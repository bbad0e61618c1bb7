"""The three band kernels on tensors."""

from torch import Tensor

from seqmem.ops.backend import accumulation_dtype
from seqmem.ops.pattern import Band
from triton import cdiv

from .kernels import band as kernels
from .launch import Launch, num_blocks
from .operands import Rows, Sizes, rows


def band_qk(q: Tensor, k: Tensor, band: Band) -> Tensor:
    """See :meth:`AttentionBackend.band_qk`."""
    batch_size, num_queries, num_heads, width = q.shape
    scores = q.new_empty(batch_size, num_queries, num_heads, band.num_columns, dtype=accumulation_dtype(q.dtype))
    launch = Launch.of(kernels.band_qk, band, q.dtype, width, width)
    met = cdiv(band.num_columns + launch.form.queries - 1, launch.form.keys)
    grid = (num_blocks(num_queries, launch.form.queries, band.dilation), batch_size * num_heads, met)
    launch(grid, Rows.of(scores), Rows.of(rows(q)), Rows.of(rows(k)), Sizes.of_band(q.shape, k.shape[1], band))
    return scores


def band_pv(p: Tensor, v: Tensor, band: Band) -> Tensor:
    """See :meth:`AttentionBackend.band_pv`."""
    batch_size, num_queries, num_heads, _ = p.shape
    out = v.new_empty(batch_size, num_queries, num_heads, v.shape[3])
    launch = Launch.of(kernels.band_pv, band, v.dtype, v.shape[3], v.shape[3])
    grid = (num_blocks(num_queries, launch.form.queries, band.dilation), batch_size * num_heads)
    launch(grid, Rows.of(out), Rows.of(rows(p)), Rows.of(rows(v)), Sizes.of_band(p.shape, v.shape[1], band))
    return out


def band_pv_t(p: Tensor, g: Tensor, band: Band, num_keys: int) -> Tensor:
    """See :meth:`AttentionBackend.band_pv_t`."""
    batch_size, _, num_heads, width = g.shape
    out = g.new_empty(batch_size, num_keys, num_heads, width)
    launch = Launch.of(kernels.band_pv_t, band, g.dtype, width, width)
    grid = (num_blocks(num_keys, launch.form.keys, band.dilation), batch_size * num_heads)
    launch(grid, Rows.of(out), Rows.of(rows(p)), Rows.of(rows(g)), Sizes.of_band(p.shape, num_keys, band))
    return out
