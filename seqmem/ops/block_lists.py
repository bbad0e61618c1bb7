"""Attention on :class:`Blocks` in plain PyTorch: every block of queries with its own list of blocks of keys.

Cut into blocks, heads and batch rows alike become sequences of their own, so blocks of queries with lists of one length
go together, whichever heads and rows of the layout they come from: nothing is padded to the longest list. Letters: n
blocks of keys, R of queries, p of these together, m blocks in the list of each.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seqmem.ops.backend import Attention, Gradients
from seqmem.ops.blockwise import GradientSums, MatmulBlock, Workspace, attend_blocks, attend_blocks_backward
from seqmem.ops.pattern import Blocks

STEP_ELEMENTS = 1 << 20
"""Numbers that a step works on, few enough to stay in the cache: keys and values of its lists, and scores."""


def attend(call: Attention) -> tuple[Tensor, Tensor]:
    """``(out [B, T, H, E], lse [B, T, H])`` of a call on Blocks."""
    cut = BlockedCall(call)
    out, lse = attend_blocks(cut.call, cut.steps())
    return cut.joined(out), cut.joined(lse)


def attend_backward(call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor) -> Gradients:
    """Gradients of :func:`attend`, scores recomputed."""
    cut = BlockedCall(call)
    out, dout, dlse = (cut.by_block(tensor, cut.before) for tensor in (out, dout, dlse))
    lse = cut.by_block(lse, cut.before, -torch.inf)
    dq, dk, dv, *_ = attend_blocks_backward(cut.call, cut.steps(), out, lse, dout, dlse)
    return Gradients(cut.joined(dq), cut.joined_keys(dk), cut.joined_keys(dv))


class BlockedCall:
    """A call on Blocks as one on many short sequences, each with one head.

    Attributes:
        call: ``q [B * H * R, size, 1, D]``, ``k [B * H * n, size, 1, D]``, ``v [B * H * n, size, 1, E]``; positions
            before the first query and after the last key are filled up with zeros.
        valid: bool ``[B * H * n, size]``, the keys that exist and are not switched off; None where all are.
        first_row: of the layout, to have queries.
        before: positions of that row before the first query.
    """

    def __init__(self, call: Attention):
        assert isinstance(call.pattern, Blocks)
        self.pattern, self.size = call.pattern, call.pattern.size
        self.batch_size, num_queries, self.num_heads = call.q.shape[:3]
        num_keys = call.k.shape[1]
        self.first_row, self.before = divmod(num_keys - num_queries, self.size)
        self.num_columns = -(-num_keys // self.size)
        self.num_rows = self.num_columns - self.first_row
        self.after = self.num_columns * self.size - num_keys
        keys = call.dropout_keys
        self.call = replace(
            call,
            q=self.by_block(call.q, self.before),
            k=self.by_block(call.k),
            v=self.by_block(call.v),
            valid=None,
            dropout_keys=None if keys is None else keys.flatten().repeat_interleave(self.num_rows)[:, None],
        )
        self.valid = None
        if call.valid is not None or self.after:
            valid = torch.ones_like(call.k[:, :, 0, 0], dtype=torch.bool) if call.valid is None else call.valid
            self.valid = self.by_block(valid[:, :, None].expand(-1, -1, self.num_heads)).squeeze(2)

    def by_block(self, tensor: Tensor, before: int = 0, filling: float = 0) -> Tensor:
        """``[B, L, H, ...] -> [B * H * blocks, size, 1, ...]``; ``filling`` in ``before`` positions and after all."""
        if before or self.after:
            tensor = F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (before, self.after), value=filling)
        return tensor.unflatten(1, (tensor.shape[1] // self.size, self.size)).movedim(3, 1).flatten(0, 2).unsqueeze(2)

    def joined(self, blocks: Tensor) -> Tensor:
        """``[B * H * R, size, 1, ...] -> [B, T, H, ...]``."""
        return self._joined(blocks, self.before, self.num_rows)

    def joined_keys(self, blocks: Tensor) -> Tensor:
        """``[B * H * n, size, 1, ...] -> [B, S, H, ...]``."""
        return self._joined(blocks, 0, self.num_columns)

    def _joined(self, blocks: Tensor, first: int, count: int) -> Tensor:
        positions = blocks.squeeze(2).unflatten(0, (self.batch_size, self.num_heads, count)).flatten(2, 3)
        return positions[:, :, first : positions.shape[2] - self.after].transpose(1, 2).contiguous()

    def steps(self) -> Iterator["Step"]:
        """Every block of queries once, those with lists of one kind together."""
        workspace = Workspace()
        for rows, keys, off in self._lists():
            size = keys.shape[1] * self.size * (self.size + self.call.k.shape[3] + self.call.v.shape[3])
            count = max(1, STEP_ELEMENTS // size)
            for part, named in zip(rows.split(count), keys.split(count), strict=True):
                yield Step(self, part, named, off, workspace)

    def _lists(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Blocks of queries ``[p]``, the keys of each ``[p, m]``, and which of them are off ``[1, size, m * size]``."""
        device = self.call.q.device
        seen = self.pattern.layout[:, self.first_row : self.num_columns, : self.num_columns]
        if self.pattern.causal:
            seen = seen.tril(self.first_row)
        seen = seen.expand(self.num_heads, -1, -1).transpose(0, 1)
        named = seen.byte().argsort(dim=2, descending=True, stable=True)
        counts = seen.sum(2)
        last = named.gather(2, (counts - 1).clamp(min=0)[..., None]).squeeze(2)
        row = torch.arange(self.num_rows, device=device)[:, None]
        is_cut = (last == row + self.first_row) & (counts > 0) & self.pattern.causal
        batch = torch.arange(self.batch_size, device=device)[:, None] * self.num_heads
        kinds = 2 * counts + is_cut
        for kind in kinds.unique().tolist() if self.batch_size else ():
            of_row, of_head = (kinds == kind).nonzero(as_tuple=True)
            sequences = (batch + of_head).flatten()
            keys = named[of_row, of_head, : max(1, kind // 2)].repeat(self.batch_size, 1)
            keys = keys + sequences[:, None] * self.num_columns
            rows = of_row.repeat(self.batch_size) + sequences * self.num_rows
            yield rows, keys, self._never_seen(kind // 2, bool(kind % 2))

    def _never_seen(self, count: int, is_cut: bool) -> Tensor | None:
        """Keys of a list that its queries do not see: later ones of the block they are in, or all if it is empty."""
        off = torch.ones(1, self.size, max(1, count) * self.size, dtype=torch.bool, device=self.call.q.device)
        return off.triu(1 + (count - 1) * self.size) if is_cut else None if count else off


class Step(MatmulBlock):
    """Blocks of queries with lists of one length.

    Args:
        rows: which of the queries' blocks, ``[p]``.
        keys: which of the keys' blocks each sees, ``[p, m]``.
        off: keys of the list that are not seen, ``[1, size, m * size]``; None where all are.
    """

    def __init__(self, cut: BlockedCall, rows: Tensor, keys: Tensor, off: Tensor | None, workspace: Workspace):
        self.cut, self.keys = cut, keys
        self.first_query = rows % cut.num_rows * cut.size - cut.before
        flat = keys.flatten()
        side_by_side = bool((flat.diff() == 1).all())
        self.span = slice(int(flat[0]), int(flat[-1]) + 1) if side_by_side else None
        super().__init__(cut.call, rows, slice(None), self._named(cut.call.k), self._named(cut.call.v), workspace)
        self.off = off
        if cut.valid is not None and not bool((valid := self._named(cut.valid)).all()):
            self.off = ~valid[:, None] if off is None else ~valid[:, None] | off

    def _named(self, blocks: Tensor) -> Tensor:
        """``[B * H * n, size, ...] -> [p, m * size, ...]``, a view where the blocks lie side by side."""
        if self.span is not None:
            return blocks[self.span].unflatten(0, self.keys.shape).flatten(1, 2)
        return blocks.flatten(1).index_select(0, self.keys.flatten()).view(len(self.keys), -1, *blocks.shape[2:])

    def mask(self) -> Tensor | None:
        """0 where a key is seen and -inf elsewhere, ``[#p, #size, m * size]``; None if all are."""
        zero = self.q.new_zeros(())
        return None if self.off is None else zero.where(~self.off, -torch.inf)

    def initial_scores(self, scratch: Tensor) -> Tensor:
        added = self.mask()
        return (scratch.new_zeros(()) if added is None else added).expand_as(scratch)

    def add_initial_gradients(self, into: GradientSums, dscores: Tensor) -> None:
        pass

    def add_to_keys(self, total: Tensor, part: Tensor) -> None:
        if self.span is not None:
            total[self.span] += part.reshape(-1, *total.shape[1:])
        else:
            total.flatten(1).index_add_(0, self.keys.flatten(), part.reshape(self.keys.numel(), -1))

    def query_positions(self) -> Tensor:
        within = torch.arange(self.cut.size, device=self.first_query.device)
        return (self.first_query[:, None] + within)[..., None, None]

    def key_positions(self) -> Tensor:
        first = self.keys % self.cut.num_columns * self.cut.size
        return (first[..., None] + torch.arange(self.cut.size, device=first.device)).flatten(1)[:, None, None]
