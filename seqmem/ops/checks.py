"""One-line errors for operands that do not fit together."""

from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.ops.pattern import Band, Blocks, Gather, Pattern


def check_weights(p: Tensor, values: Tensor, band: Band, num_keys: int | None = None) -> None:
    """Probabilities ``[B, T, H, C]`` must have the band's columns, and agree with values: of keys, or of queries.

    Args:
        num_keys: given where ``values`` stand at the queries.
    """
    if p.dim() != 4 or p.shape[3] != band.num_columns:
        raise SeqmemError(f"p is {list(p.shape)}; {band} wants [B, T, H, {band.num_columns}]")
    steps = p.shape[1] if num_keys is not None else values.shape[1]
    if values.dim() != 4 or values.shape[:3] != (p.shape[0], steps, p.shape[2]):
        raise SeqmemError(f"p is {list(p.shape)} and what it weights {list(values.shape)}; batch, heads or time differ")
    if p.device != values.device:
        raise SeqmemError(f"p is on {p.device} and what it weights on {values.device}; give one device")
    num_keys = values.shape[1] if num_keys is None else num_keys
    if p.shape[1] > num_keys:
        raise SeqmemError(f"{p.shape[1]} queries but {num_keys} keys; on {band} queries are the last of the keys")


def check_qk(q: Tensor, k: Tensor, pattern: Band | Blocks) -> None:
    """Queries and keys must agree, and T be at most S."""
    if q.dim() != 4 or k.dim() != 4 or (q.shape[0], *q.shape[2:]) != (k.shape[0], *k.shape[2:]):
        raise SeqmemError(f"q is {list(q.shape)} and k {list(k.shape)}; give [B, T, H, D] and [B, S, H, D]")
    if q.dtype != k.dtype:
        raise SeqmemError(f"q is {q.dtype} and k {k.dtype}; give one dtype")
    if q.shape[1] > k.shape[1]:
        raise SeqmemError(f"{q.shape[1]} queries but {k.shape[1]} keys; on {pattern} queries are the last of the keys")


def check_blocks(pattern: Blocks, q: Tensor, k: Tensor, bias: Tensor | None) -> None:
    """The layout must fit heads and keys, T be at most S, and nothing be added to the scores."""
    check_qk(q, k, pattern)
    heads, blocks, _ = pattern.layout.shape
    if heads not in (1, q.shape[2]) or blocks * pattern.size < k.shape[1]:
        wanted = f"[1 or {q.shape[2]}, n, n] with n * {pattern.size} >= {k.shape[1]}"
        raise SeqmemError(f"Blocks layout is {list(pattern.layout.shape)} for {k.shape[1]} keys; give {wanted}")
    if bias is not None:
        raise SeqmemError("bias does not go with Blocks; give it to a Dense or Gather part and merge")


def check_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: Pattern,
    bias: Tensor | None,
    rel: tuple[Tensor, Tensor] | None,
    valid: Tensor | None,
    dropout: float,
    seed: int | Tensor | None,
) -> None:
    """Every operand of ``Ops.attend`` against every other."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.dim() != 4:
            raise SeqmemError(f"{name} is {list(tensor.shape)}; give [batch, time, heads, width]")
    if isinstance(pattern, Band):
        check_qk(q, k, pattern)
        columns = pattern.num_columns
    else:
        columns = pattern.index.shape[-1] if isinstance(pattern, Gather) else k.shape[1]
    if isinstance(pattern, Blocks):
        check_blocks(pattern, q, k, bias)
    if k.shape[:3] != v.shape[:3] or not q.dtype == k.dtype == v.dtype:
        got = ", ".join(f"{name} {list(t.shape)} {t.dtype}" for name, t in (("q", q), ("k", k), ("v", v)))
        raise SeqmemError(f"{got}; give k and v the same batch, keys and heads, and all three one dtype")
    if bias is not None:
        wanted = (q.shape[0], q.shape[1], q.shape[2], columns)
        if (
            bias.dim() != 4
            or bias.shape[3] != columns
            or any(size not in (1, full) for size, full in zip(bias.shape, wanted, strict=True))
        ):
            raise SeqmemError(f"bias is {list(bias.shape)}; give a shape broadcastable to {list(wanted)}")
    if rel is not None:
        qr, r = rel
        if not isinstance(pattern, Band):
            raise SeqmemError(f"rel goes with Band only, not {type(pattern).__name__}; give a bias instead")
        if qr.shape != q.shape or r.shape != (columns, *q.shape[2:]):
            wanted_r = [columns, *q.shape[2:]]
            raise SeqmemError(f"rel is {list(qr.shape)}, {list(r.shape)}; give {list(q.shape)}, {wanted_r}")
    if (q.shape[0], *q.shape[2:]) != (k.shape[0], *k.shape[2:]):
        raise SeqmemError(f"q is {list(q.shape)} and k {list(k.shape)}; give them the same batch, heads and width")
    others = {"k": k, "v": v, "bias": bias, "valid": valid, "qr": rel and rel[0], "r": rel and rel[1]}
    for name, other in others.items():
        if other is not None and other.device != q.device:
            raise SeqmemError(f"{name} is on {other.device} and q on {q.device}; give one device")
    if valid is not None and (valid.shape != k.shape[:2] or str(valid.dtype) != "torch.bool"):
        raise SeqmemError(f"valid is {valid.dtype} {list(valid.shape)}; give bool {list(k.shape[:2])}")
    if not 0 <= dropout < 1:
        raise SeqmemError(f"dropout is {dropout}; give a probability in [0, 1)")
    if dropout and seed is None:
        raise SeqmemError("dropout without a seed; give an integer or a 0-d int64 tensor")
