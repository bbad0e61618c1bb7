"""Tensors as kernels take them: a pointer and strides, in one record a kernel's functions pass on whole."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqmem.ops.backend import Attention
from seqmem.ops.pattern import Band, Gather


class Rows(NamedTuple):
    """A tensor ``[B, T, H, W]`` with rows of W neighbours; strides in numbers."""

    start: Any
    batch: int
    row: int
    head: int

    @classmethod
    def of(cls, tensor: Tensor) -> "Rows":
        """The strides of ``tensor``, whose last axis is contiguous."""
        return cls(tensor, *tensor.stride()[:3])


class Bias(NamedTuple):
    """A bias ``[#B, #T, #H, N]``; a stride is 0 where it is broadcast."""

    start: Any
    batch: int
    row: int
    head: int
    column: int

    @classmethod
    def of(cls, bias: Tensor) -> "Bias":
        return cls(bias, *(0 if size == 1 else stride for size, stride in zip(bias.shape, bias.stride(), strict=True)))


class Names(NamedTuple):
    """Keys that a :class:`Gather` names: positions and which of them count, both ``[B, 1 or H, G]``."""

    position: Any
    is_named: Any
    batch: int
    head: int

    @classmethod
    def of(cls, pattern: Gather) -> "Names":
        valid = torch.ones_like(pattern.index, dtype=torch.bool) if pattern.valid is None else pattern.valid
        index, valid = pattern.index.contiguous(), valid.contiguous()
        return cls(index, valid, index.stride(0), index.stride(1) if index.dim() == 3 else 0)


class Operands(NamedTuple):
    """What scores are made of; see :class:`seqmem.ops.backend.Attention`."""

    q: Rows
    k: Rows
    v: Rows
    bias: Bias | None
    qr: Rows | None
    r: Rows | None
    valid: Any
    names: Names | None
    dropout_keys: Any

    @classmethod
    def of(cls, call: Attention) -> "Operands":
        q, k, v = (Rows.of(rows(tensor)) for tensor in (call.q, call.k, call.v))
        bias = None if call.bias is None else Bias.of(call.bias)
        qr = None if call.qr is None else Rows.of(rows(call.qr))
        r = None if call.r is None else Rows.of(rows(call.r).expand(call.q.shape[0], -1, -1, -1))
        valid = None if call.valid is None else call.valid.contiguous()
        names = Names.of(call.pattern) if isinstance(call.pattern, Gather) else None
        dropout_keys = None if call.dropout_keys is None else call.dropout_keys.contiguous()
        return cls(q, k, v, bias, qr, r, valid, names, dropout_keys)


COUNTS = ("num_queries", "num_keys", "num_columns", "num_heads", "left", "right")


class Sizes(NamedTuple):
    """Numbers that no kernel is compiled anew for.

    Attributes:
        num_keys: S; ``num_columns`` is what a query's scores are counted by: C, S or G.
        left, right: of a band.
        scale: of scores, and ``threshold`` of the dropout hash, below which a probability is dropped.
    """

    num_queries: int
    num_keys: int
    num_columns: int
    num_heads: int
    left: int
    right: int
    scale: float
    threshold: int
    kept: float

    @classmethod
    def of(cls, call: Attention) -> "Sizes":
        num_queries, num_keys = call.q.shape[1], call.k.shape[1]
        left = right = 0
        num_columns = num_keys
        if isinstance(call.pattern, Band):
            left, right, num_columns = call.pattern.left, call.pattern.right, call.pattern.num_columns
        elif isinstance(call.pattern, Gather):
            num_columns = call.pattern.index.shape[-1]
        threshold = int(call.dropout * 2**32)
        return cls(
            num_queries, num_keys, num_columns, call.q.shape[2], left, right, call.scale, threshold, 1 - call.dropout
        )

    @classmethod
    def of_band(cls, queries: torch.Size, num_keys: int, band: Band) -> "Sizes":
        """For a band kernel whose operand beside the keys has the shape ``queries [B, T, H, ...]``."""
        return cls(queries[1], num_keys, band.num_columns, queries[2], band.left, band.right, 1.0, 0, 1.0)

    def odd(self) -> "Sizes":
        """With ``2 n + 3`` in place of every length and count n.

        Triton compiles a kernel anew for a number in a record that is 1 or a multiple of 16: no odd one from 3 on is.
        """
        return self._replace(**{name: 2 * getattr(self, name) + 3 for name in COUNTS})


class Seen(NamedTuple):
    """What every backward kernel reads: lse and ``out . dout - dlse`` of each query, contiguous, dout, the operands."""

    lse: Tensor
    delta: Tensor
    dout: Rows
    operands: Operands
    sizes: Sizes


def rows(tensor: Tensor) -> Tensor:
    """The tensor with its last axis contiguous, copied only where it is not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
