"""Gradients of fused attention on tensors. Each has a kernel whose programs own what they write: no atomics."""

from torch import Tensor

from seqmem.ops.backend import Attention, Gradients
from seqmem.ops.pattern import Band, Gather
from triton import cdiv

from .attend import launch_of, query_grid
from .columns import column_sums
from .kernels.attend_bias import attend_bias
from .kernels.attend_keys import attend_keys
from .kernels.attend_queries import attend_queries
from .launch import num_blocks
from .operands import Operands, Rows, Seen, Sizes, rows


def attend_backward(call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor) -> Gradients:
    """See :meth:`AttentionBackend.attend_backward`."""
    dout = rows(dout.to(out.dtype))
    seen = Seen(lse.contiguous(), lse.new_empty(lse.shape), Rows.of(dout), Operands.of(call), Sizes.of(call))
    dq, dqr = _of_queries(call, seen, out, dlse)
    on_band = isinstance(call.pattern, Band)
    wanted = call.bias if call.bias_needs_grad else None
    is_summed = wanted is not None and wanted.shape[1] == 1
    dk, dv, sums = _of_keys(call, seen, of_bias=is_summed and not on_band)
    dr = None
    if call.r is not None or (is_summed and on_band):
        dr, sums = column_sums(call, seen, of_bias=is_summed)
    dbias = None
    if wanted is not None:
        dbias = _of_bias(call, seen) if sums is None else sums.sum_to_size(wanted.shape).to(wanted.dtype)
    return Gradients(dq, dk, dv, dbias, dqr, dr)


def _of_queries(call: Attention, seen: Seen, out: Tensor, dlse: Tensor) -> tuple[Tensor, Tensor | None]:
    """dq and dqr; fills ``seen.delta``."""
    dq = call.q.new_empty(call.q.shape)
    dqr = None if call.qr is None else call.q.new_empty(call.q.shape)
    launch = launch_of(attend_queries, call)
    given = Rows.of(rows(out)), dlse.contiguous()
    launch(query_grid(launch, call), Rows.of(dq), None if dqr is None else Rows.of(dqr), *given, *seen)
    return dq, dqr


def _of_keys(call: Attention, seen: Seen, of_bias: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """dk and dv, and ``of_bias`` what one counted by keys collects from all queries, ``[B, 1, H, N]``."""
    # What a Gather does not name is written by nobody.
    new = call.k.new_zeros if isinstance(call.pattern, Gather) else call.k.new_empty
    dk, dv = new(call.k.shape), new(call.v.shape)
    launch = launch_of(attend_keys, call)
    batch_size, num_keys, num_heads, _ = call.k.shape
    if isinstance(call.pattern, Gather):
        num_keys = seen.sizes.num_columns
    by_key = seen.lse.new_empty(batch_size, 1, num_heads, num_keys) if of_bias else None
    grid = num_blocks(num_keys, launch.form.keys, launch.form.dilation), batch_size * num_heads
    launch(grid, Rows.of(dk), Rows.of(dv), by_key, *seen)
    return dk, dv, by_key


def _of_bias(call: Attention, seen: Seen) -> Tensor:
    """The gradient of a bias that differs from query to query."""
    assert call.bias is not None
    batch_size, _, num_heads, _ = call.q.shape
    rows_of_bias, _, bias_heads, num_columns = call.bias.shape
    dbias = call.bias.new_empty(call.bias.shape)
    launch = launch_of(attend_bias, call)
    met = num_columns + (launch.form.queries - 1 if isinstance(call.pattern, Band) else 0)
    query_blocks, _ = query_grid(launch, call)
    grid = query_blocks, cdiv(met, launch.form.keys), rows_of_bias * bias_heads
    launch(grid, dbias, *seen, bias_heads, batch_size // rows_of_bias, num_heads // bias_heads)
    return dbias
