"""The custom operators over the primitives and their derivatives, stated once for all backends.

The three band kernels are closed under differentiation (each one's derivatives are the other two), so a backend that
has them trains, twice differentiable. The backend travels as a string; each operator has a fake implementation, so
torch.compile keeps whole graphs.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.library import custom_op

from seqmem.ops import defaults, registry
from seqmem.ops.backend import Attention, accumulation_dtype
from seqmem.ops.dispatch import DEFAULTS
from seqmem.ops.pattern import Band, Blocks, Dense, Gather, Pattern


@custom_op("seqmem::band_qk", mutates_args=())
def band_qk(q: Tensor, k: Tensor, left: int, right: int, dilation: int, backend: str) -> Tensor:
    """See :meth:`AttentionBackend.band_qk`."""
    return registry.backend(backend).band_qk(q, k, Band(left, right, dilation))


@custom_op("seqmem::band_pv", mutates_args=())
def band_pv(p: Tensor, v: Tensor, left: int, right: int, dilation: int, backend: str) -> Tensor:
    """See :meth:`AttentionBackend.band_pv`."""
    return registry.backend(backend).band_pv(p, v, Band(left, right, dilation))


@custom_op("seqmem::band_pv_t", mutates_args=())
def band_pv_t(p: Tensor, g: Tensor, num_keys: int, left: int, right: int, dilation: int, backend: str) -> Tensor:
    """See :meth:`AttentionBackend.band_pv_t`."""
    return registry.backend(backend).band_pv_t(p, g, Band(left, right, dilation), num_keys)


@band_qk.register_fake
def _(q, k, left, right, dilation, backend):
    return q.new_empty(*q.shape[:3], left + right + 1, dtype=accumulation_dtype(q.dtype))


@band_pv.register_fake
def _(p, v, left, right, dilation, backend):
    return v.new_empty(*p.shape[:3], v.shape[3])


@band_pv_t.register_fake
def _(p, g, num_keys, left, right, dilation, backend):
    return g.new_empty(g.shape[0], num_keys, *g.shape[2:])


def _save_operands(ctx, inputs, output):
    first, second, *ctx.static = inputs
    ctx.save_for_backward(first, second)


def _band_qk_backward(ctx, ds):
    q, k = ctx.saved_tensors
    dq = dk = None
    if ctx.needs_input_grad[0]:
        dq = band_pv(ds, k, *ctx.static)
    if ctx.needs_input_grad[1]:
        dk = band_pv_t(ds, q, k.shape[1], *ctx.static)
    return dq, dk, None, None, None, None


def _band_pv_backward(ctx, dout):
    p, v = ctx.saved_tensors
    dp = dv = None
    if ctx.needs_input_grad[0]:
        dp = band_qk(dout, v, *ctx.static).to(p.dtype)
    if ctx.needs_input_grad[1]:
        dv = band_pv_t(p, dout, v.shape[1], *ctx.static)
    return dp, dv, None, None, None, None


def _band_pv_t_backward(ctx, dx):
    p, g = ctx.saved_tensors
    _, *static = ctx.static
    dp = dg = None
    if ctx.needs_input_grad[0]:
        dp = band_qk(g, dx, *static).to(p.dtype)
    if ctx.needs_input_grad[1]:
        dg = band_pv(p, dx, *static)
    return dp, dg, None, None, None, None, None


band_qk.register_autograd(_band_qk_backward, setup_context=_save_operands)
band_pv.register_autograd(_band_pv_backward, setup_context=_save_operands)
band_pv_t.register_autograd(_band_pv_t_backward, setup_context=_save_operands)


def encode(pattern: Pattern) -> tuple[str, list[int], Tensor | None, Tensor | None]:
    """A pattern as values an operator's schema has: kind, integers, index, valid."""
    if isinstance(pattern, Band):
        return "Band", [int(pattern.left), int(pattern.right), int(pattern.dilation)], None, None
    if isinstance(pattern, Gather):
        return "Gather", [int(pattern.causal)], pattern.index, pattern.valid
    if isinstance(pattern, Blocks):
        return "Blocks", [pattern.size, int(pattern.causal)], pattern.layout, None
    return "Dense", [], None, None


def _decode(kind: str, numbers: Sequence[int], index: Tensor | None, index_valid: Tensor | None) -> Pattern:
    if kind == "Band":
        return Band(*numbers)
    if kind == "Gather":
        assert index is not None
        return Gather(index, index_valid, bool(numbers[0]))
    if kind == "Blocks":
        assert index is not None
        return Blocks(index, numbers[0], bool(numbers[1]))
    return Dense()


def _restricting(valid: Tensor | None) -> Tensor | None:
    """None for a mask that switches nothing off, to spare every score a pass; a GPU would have to be waited for."""
    if valid is not None and valid.device.type == "cpu" and bool(valid.all()):
        return None
    return valid


@custom_op("seqmem::attend", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    qr: Tensor | None,
    r: Tensor | None,
    valid: Tensor | None,
    index: Tensor | None,
    index_valid: Tensor | None,
    dropout_keys: Tensor | None,
    kind: str,
    numbers: Sequence[int],
    scale: float,
    dropout: float,
    backend: str,
    composed: bool,
) -> tuple[Tensor, Tensor]:
    """See :meth:`AttentionBackend.attend`; operands as :class:`Attention` has them, the pattern by :func:`encode`."""
    pattern = _decode(kind, numbers, index, index_valid)
    call = Attention(q, k, v, pattern, scale, bias, qr, r, _restricting(valid), dropout, dropout_keys)
    if composed:
        return defaults.attend(call, None if backend == DEFAULTS else registry.backend(backend))
    return registry.backend(backend).attend(call)


@attend.register_fake
def _(q, k, v, *rest):
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=accumulation_dtype(q.dtype))


@custom_op("seqmem::attend_backward", mutates_args=())
def attend_backward(
    out: Tensor,
    lse: Tensor,
    dout: Tensor,
    dlse: Tensor,
    bias_needs_grad: bool,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    qr: Tensor | None,
    r: Tensor | None,
    valid: Tensor | None,
    index: Tensor | None,
    index_valid: Tensor | None,
    dropout_keys: Tensor | None,
    kind: str,
    numbers: Sequence[int],
    scale: float,
    dropout: float,
    backend: str,
    composed: bool,
) -> list[Tensor]:
    """Gradients of :func:`attend`: those of q, k, v, then bias if wanted, then qr and r if present."""
    pattern = _decode(kind, numbers, index, index_valid)
    call = Attention(q, k, v, pattern, scale, bias, qr, r, _restricting(valid), dropout, dropout_keys, bias_needs_grad)
    if composed:
        chosen = None if backend == DEFAULTS else registry.backend(backend)
        gradients = defaults.attend_backward(call, chosen, out, lse, dout, dlse)
    else:
        gradients = registry.backend(backend).attend_backward(call, out, lse, dout, dlse)
    return [gradient for gradient in gradients if gradient is not None]


@attend_backward.register_fake
def _(out, lse, dout, dlse, bias_needs_grad, q, k, v, bias, qr, r, *rest):
    present = [q, k, v, *([bias] if bias_needs_grad else []), *([qr, r] if r is not None else [])]
    return [operand.new_empty(operand.shape) for operand in present]


def _save_attention(ctx, inputs, output):
    *tensors, ctx.kind, ctx.numbers, ctx.scale, ctx.dropout, ctx.backend, ctx.composed = inputs
    ctx.save_for_backward(*tensors, *output)


def _attend_backward(ctx, dout, dlse):
    *tensors, out, lse = ctx.saved_tensors
    has_bias, has_rel = ctx.needs_input_grad[3], tensors[5] is not None
    static = (ctx.kind, ctx.numbers, ctx.scale, ctx.dropout, ctx.backend, ctx.composed)
    gradients = iter(attend_backward(out, lse, dout, dlse, has_bias, *tensors, *static))
    dq, dk, dv = next(gradients), next(gradients), next(gradients)
    dbias = next(gradients) if has_bias else None
    dqr, dr = (next(gradients), next(gradients)) if has_rel else (None, None)
    return dq, dk, dv, dbias, dqr, dr, *[None] * 10


def _no_second_derivative(ctx, *gradients):
    raise RuntimeError("fused attention has no second derivative; call attend(..., fused=False)")


attend.register_autograd(_attend_backward, setup_context=_save_attention)
attend_backward.register_autograd(_no_second_derivative)
