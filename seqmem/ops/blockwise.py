"""Attention and its gradient, one block of queries at a time: peak memory is the inputs' size plus one block.

A :class:`Block` knows where its scores come from; the two drivers here do what every block shares: softmax, lse,
dropout, and the recomputing backward. Suffixes: b rows of the batch in the block, n queries, N columns (keys of a
dense block, diagonals of a band), H heads, D and E widths of keys and values.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqmem.ops import dropout
from seqmem.ops.backend import Attention, Gradients, accumulation_dtype


class Block(ABC):
    """Some queries of some batch rows, with all the keys these queries see.

    Scores and probabilities are ``[b, n, H, N]`` in the accumulation dtype, of any strides; the drivers overwrite them.
    """

    def __init__(self, call: Attention, rows: slice | Tensor, queries: slice):
        self.call = call
        self.rows = rows
        self.queries = queries
        self.dtype = accumulation_dtype(call.q.dtype)

    @abstractmethod
    def scores(self) -> Tensor:
        """Scaled scores with every added term, -inf where the query does not see the key."""

    @abstractmethod
    def weigh(self, probs: Tensor) -> Tensor:
        """Sum of values under ``probs``, ``[b, n, H, E]``."""

    @abstractmethod
    def probs_gradient(self, dout: Tensor) -> Tensor:
        """``dout . v`` for every key, ``[b, n, H, N]``."""

    @abstractmethod
    def add_value_gradients(self, into: "GradientSums", probs: Tensor, dout: Tensor) -> None:
        """Add this block's share to v's gradient."""

    @abstractmethod
    def add_score_gradients(self, into: "GradientSums", dscores: Tensor) -> None:
        """Add this block's share to the gradients of everything the scores are made of; may overwrite ``dscores``."""

    @abstractmethod
    def key_positions(self) -> Tensor:
        """Index of every key for the dropout hash, broadcastable to ``[b, n, H, N]``."""

    def keep(self) -> Tensor:
        """Which probabilities survive dropout, bool ``[b, n, H, N]``."""
        assert self.call.dropout_keys is not None
        keys = self.call.dropout_keys[self.rows, None, :, None]
        return dropout.keep(keys, self.query_positions(), self.key_positions(), self.call.dropout)

    def query_positions(self) -> Tensor:
        """Index of every query for the dropout hash, broadcastable to ``[b, n, H, N]``."""
        return torch.arange(self.call.q.shape[1], device=self.call.q.device)[self.queries][:, None, None]

    def added(self, columns: slice) -> Tensor | None:
        """The terms that live on columns, ``scale * qr.r + bias`` as ``[b, n, H, columns]`` (broadcastable), if any."""
        call = self.call
        total = None
        if call.r is not None and call.qr is not None:
            qr = call.qr[self.rows, self.queries].to(self.dtype) * call.scale
            total = torch.einsum("bnhd,chd->bnhc", qr, call.r[columns].to(self.dtype))
        if call.bias is not None:
            bias = self.bias_part(call.bias)[..., columns].to(self.dtype)
            total = bias if total is None else total.add_(bias)
        return total

    def bias_part(self, bias: Tensor) -> Tensor:
        """The block's rows and queries of a tensor shaped like the bias, where those axes are not broadcast."""
        rows = self.rows if bias.shape[0] > 1 else slice(None)
        queries = self.queries if bias.shape[1] > 1 else slice(None)
        return bias[rows, queries]

    def add_added_gradients(self, into: "GradientSums", dadded: Tensor, columns: slice) -> None:
        """Gradient of :meth:`added` into bias, qr and r, given that of its result ``[b, n, H, columns]``."""
        call = self.call
        if call.r is not None and call.qr is not None:
            assert into.qr is not None
            assert into.r is not None
            qr = call.qr[self.rows, self.queries].to(self.dtype)
            r = call.r[columns].to(self.dtype)
            into.qr[self.rows, self.queries] += torch.einsum("bnhc,chd->bnhd", dadded, r) * call.scale
            into.r[columns] += torch.einsum("bnhc,bnhd->chd", dadded, qr) * call.scale
        if into.bias is not None:
            target = self.bias_part(into.bias)[..., columns]
            target += dadded.sum_to_size(target.shape)


@dataclass
class GradientSums:
    """Where blocks add their gradients, in the accumulation dtype; None for operands that want none."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None
    qr: Tensor | None
    r: Tensor | None

    @classmethod
    def zeros(cls, call: Attention) -> "GradientSums":
        def like(tensor: Tensor) -> Tensor:
            return tensor.new_zeros(tensor.shape, dtype=accumulation_dtype(tensor.dtype))

        def maybe(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else like(tensor)

        bias = maybe(call.bias) if call.bias_needs_grad else None
        return cls(like(call.q), like(call.k), like(call.v), bias, maybe(call.qr), maybe(call.r))

    def finish(self, call: Attention) -> Gradients:
        def cast(total: Tensor | None, operand: Tensor | None) -> Tensor | None:
            return None if total is None or operand is None else total.to(operand.dtype)

        names = ("q", "k", "v", "bias", "qr", "r")
        return Gradients(*(cast(getattr(self, name), getattr(call, name)) for name in names))  # type: ignore[arg-type]


def attend_blocks(call: Attention, blocks: Iterable[Block]) -> tuple[Tensor, Tensor]:
    """``(out [B, T, H, E], lse [B, T, H])`` of blocks that together hold every query once."""
    shape = call.q.shape[:3]
    out = call.v.new_empty(*shape, call.v.shape[3])
    lse = call.q.new_empty(shape, dtype=accumulation_dtype(call.q.dtype))
    for block in blocks:
        weights = block.scores()
        top = weights.amax(-1, keepdim=True)
        top.masked_fill_(top == -torch.inf, 0)
        total = weights.sub_(top).exp_().sum(-1, keepdim=True)
        lse[block.rows, block.queries] = (top + total.log()).squeeze(-1)
        if call.dropout:
            weights *= block.keep()
            total *= 1 - call.dropout
        # The largest weight is 1, so a total of 0 can only mean that the query sees no key: its sum is 0 already.
        out[block.rows, block.queries] = (block.weigh(weights) / total.where(total > 0, 1)).to(out.dtype)
    return out, lse


def attend_blocks_backward(
    call: Attention, blocks: Iterable[Block], out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor
) -> Gradients:
    """Gradients of :func:`attend_blocks`: ``dscores = probs * (dprobs - (dout . out - dlse))``."""
    dtype = lse.dtype
    shift = (dout.to(dtype) * out.to(dtype)).sum(-1) - dlse
    finite_lse = lse.masked_fill(lse == -torch.inf, torch.inf)
    sums = GradientSums.zeros(call)
    for block in blocks:
        part = (block.rows, block.queries)
        probs = block.scores().sub_(finite_lse[part][..., None]).exp_()
        dout_part = dout[part].to(dtype)
        dscores = block.probs_gradient(dout_part)
        if call.dropout:
            kept = block.keep().to(dtype) / (1 - call.dropout)
            dscores *= kept
            dscores.sub_(shift[part][..., None]).mul_(probs)
            probs *= kept
        else:
            dscores.sub_(shift[part][..., None]).mul_(probs)
        block.add_value_gradients(sums, probs, dout_part)
        block.add_score_gradients(sums, dscores)
    return sums.finish(call)


class MatmulBlock(Block):
    """A block whose keys are few enough to multiply with all its queries; subclasses say what is added and masked.

    Args:
        k, v: the block's keys and values ``[b, m, H, D]`` and ``[b, m, H, E]``.
    """

    def __init__(
        self, call: Attention, rows: slice | Tensor, queries: slice, k: Tensor, v: Tensor, workspace: "Workspace"
    ):
        super().__init__(call, rows, queries)
        self.q = _heads_first(call.q[rows, queries].to(self.dtype))
        self.k = _heads_first(k.to(self.dtype))
        self.v = _heads_first(v.to(self.dtype))
        self.workspace = workspace

    def scores(self) -> Tensor:
        scores = self.scratch("scores")
        added = self.initial_scores(scores)
        torch.baddbmm(added, self.q, self.k.mT, alpha=self.call.scale, out=scores)
        return self.columns_last(scores)

    @abstractmethod
    def initial_scores(self, scratch: Tensor) -> Tensor:
        """What the products are added to, broadcastable to ``scratch`` ``[b * H, n, m]``, which may hold it."""

    @abstractmethod
    def add_initial_gradients(self, into: GradientSums, dscores: Tensor) -> None:
        """Gradient of :meth:`initial_scores`, given ``dscores`` ``[b * H, n, m]``."""

    @abstractmethod
    def add_to_keys(self, total: Tensor, part: Tensor) -> None:
        """Add ``part [b, m, H, *]``, a gradient of this block's keys or values, to the sum over all keys."""

    def weigh(self, probs: Tensor) -> Tensor:
        return self.columns_last(torch.bmm(self.folded(probs), self.v))

    def probs_gradient(self, dout: Tensor) -> Tensor:
        return self.columns_last(torch.bmm(_heads_first(dout), self.v.mT, out=self.scratch("dscores")))

    def add_value_gradients(self, into: GradientSums, probs: Tensor, dout: Tensor) -> None:
        self.add_to_keys(into.v, self.columns_last(torch.bmm(self.folded(probs).mT, _heads_first(dout))))

    def add_score_gradients(self, into: GradientSums, dscores: Tensor) -> None:
        ds = self.folded(dscores)
        into.q[self.rows, self.queries] = self.columns_last(torch.bmm(ds, self.k).mul_(self.call.scale))
        self.add_to_keys(into.k, self.columns_last(torch.bmm(ds.mT, self.q).mul_(self.call.scale)))
        self.add_initial_gradients(into, ds)

    def scratch(self, name: str) -> Tensor:
        return self.workspace.take(name, (*self.q.shape[:2], self.k.shape[1]), self.q)

    def columns_last(self, folded: Tensor) -> Tensor:
        """``[b * H, n, N] -> [b, n, H, N]``, a view."""
        return folded.unflatten(0, (-1, self.call.q.shape[2])).transpose(1, 2)

    def folded(self, tensor: Tensor) -> Tensor:
        """Undo :meth:`columns_last`, a view."""
        return tensor.transpose(1, 2).flatten(0, 1)


class Workspace:
    """Scratch memory that outlives a block, so that its pages are mapped once a call."""

    def __init__(self):
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised memory of ``like``'s dtype and device; the previous holder of ``name`` loses it."""
        size = torch.Size(shape).numel()
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = like.new_empty(size)
        return buffer[:size].view(shape)


def _heads_first(tensor: Tensor) -> Tensor:
    """``[b, n, H, D] -> [b * H, n, D]``, a view where b is 1."""
    return tensor.transpose(1, 2).flatten(0, 1)
