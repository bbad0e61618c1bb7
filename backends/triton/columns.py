"""Gradients of what is counted by the columns of a band: relative positions, and a bias that all queries share."""

import torch.nn.functional as F
from torch import Tensor

from seqmem.ops.backend import Attention
from seqmem.ops.pattern import Band
from triton import cdiv

from .attend import launch_of, query_grid
from .kernels.attend_columns import attend_columns
from .launch import Launch
from .operands import Seen

PROGRAMS = 1024
"""Enough to fill a GPU: blocks of queries are summed in as many parts as this takes."""


def column_sums(call: Attention, seen: Seen, of_bias: bool) -> tuple[Tensor | None, Tensor | None]:
    """``dr`` as r is, and ``of_bias`` what a bias collects, ``[B, 1, H, C]``; None for one that is not wanted."""
    band = call.pattern
    assert isinstance(band, Band)
    launch = launch_of(attend_columns, call)
    shape = _shape_of_parts(launch, call, band)
    new = seen.lse.new_empty
    parts_of_bias = new(*shape, launch.form.span) if of_bias else None
    parts_of_r = None if call.r is None else new(*shape, launch.form.span, call.r.shape[2])
    num_parts, batch_size, num_heads, num_diagonals = shape
    launch((num_diagonals, batch_size * num_heads, num_parts), parts_of_r, parts_of_bias, *seen)
    dr = dbias = None
    if parts_of_r is not None and call.r is not None:
        summed = _overlapped(parts_of_r.sum((0, 1)), launch, band.num_columns)
        dr = (summed.transpose(0, 1) * call.scale).to(call.r.dtype)
    if parts_of_bias is not None:
        dbias = _overlapped(parts_of_bias.sum(0)[..., None], launch, band.num_columns)[:, None, ..., 0]
    return dr, dbias


def _shape_of_parts(launch: Launch, call: Attention, band: Band) -> tuple[int, int, int, int]:
    """Parts of the queries, rows of the batch, heads, diagonals of tiles."""
    batch_size, _, num_heads, _ = call.q.shape
    num_diagonals = cdiv(band.num_columns + launch.form.queries - 1, launch.form.keys)
    blocks_of_line = query_grid(launch, call)[0] // band.dilation
    wanted = PROGRAMS // (num_diagonals * batch_size * num_heads * band.dilation)
    return band.dilation * max(1, min(wanted, blocks_of_line)), batch_size, num_heads, num_diagonals


def _overlapped(sums: Tensor, launch: Launch, num_columns: int) -> Tensor:
    """``[..., diagonals, SPAN, D]``, of which each diagonal overlaps the next by half, as ``[..., C, D]``."""
    first, second = sums.unflatten(-2, (2, launch.form.keys)).unbind(-3)
    columns = F.pad(first, (0, 0, 0, 0, 0, 1)) + F.pad(second, (0, 0, 0, 0, 1, 0))
    skipped = launch.form.queries - 1
    return columns.flatten(-3, -2)[..., skipped : skipped + num_columns, :]
