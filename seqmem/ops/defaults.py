"""What plain PyTorch fills in: attention composed from a backend's own band kernels, and attention to named keys."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from seqmem.ops import block_lists
from seqmem.ops.backend import Attention, AttentionBackend, Gradients
from seqmem.ops.blockwise import (
    Block,
    GradientSums,
    MatmulBlock,
    Workspace,
    attend_blocks,
    attend_blocks_backward,
)
from seqmem.ops.named_keys import NamedKeys, add_to_picked
from seqmem.ops.pattern import Band, Blocks

BLOCK_QUERIES = 256
BLOCK_ELEMENTS = 1 << 22


def attend(call: Attention, backend: AttentionBackend | None) -> tuple[Tensor, Tensor]:
    """Attention for a backend without its own; Band work runs in that backend's tier 0, the rest needs none."""
    if isinstance(call.pattern, Blocks):
        return block_lists.attend(call)
    return attend_blocks(call, _blocks(call, backend))


def attend_backward(
    call: Attention, backend: AttentionBackend | None, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor
) -> Gradients:
    """Gradient of :func:`attend`, scores recomputed block by block."""
    if isinstance(call.pattern, Blocks):
        return block_lists.attend_backward(call, out, lse, dout, dlse)
    return attend_blocks_backward(call, _blocks(call, backend), out, lse, dout, dlse)


def key_usage(call: Attention, backend: AttentionBackend | None, lse: Tensor) -> Tensor:
    """Attention mass each key received, ``[B, S, H]`` in lse's dtype."""
    ones = lse.new_ones(*call.k.shape[:3], 1)
    call = replace(call, v=ones, dropout=0.0, dropout_keys=None)
    if isinstance(call.pattern, Blocks):
        cut = block_lists.BlockedCall(call)
        return cut.joined_keys(_usage(cut.call, cut.steps(), cut.by_block(lse, cut.before, -torch.inf)))
    return _usage(call, _blocks(call, backend), lse)


def _usage(call: Attention, blocks: Iterable[Block], lse: Tensor) -> Tensor:
    """Sums of probabilities as the gradient of values that are all 1."""
    dout = lse.new_ones(*call.q.shape[:3], 1)
    finite_lse = lse.masked_fill(lse == -torch.inf, torch.inf)
    usage = GradientSums.zeros(call)
    for block in blocks:
        part = (block.rows, block.queries)
        probs = block.scores().sub_(finite_lse[part][..., None]).exp_()
        block.add_value_gradients(usage, probs, dout[part])
    return usage.v.squeeze(-1)


def _blocks(call: Attention, backend: AttentionBackend | None) -> Iterator[Block]:
    if isinstance(call.pattern, Band):
        assert backend is not None
        return _evenly(call, call.pattern.num_columns, partial(BandBlock, call, PaddedKeys.of(call), backend))
    keys, workspace = NamedKeys.of(call), Workspace()

    def make(queries: slice) -> Block:
        return KeysBlock(call, keys.seen_by(queries), workspace, queries)

    return _evenly(call, keys.k.shape[1], make)


def _evenly(call: Attention, num_columns: int, make: Callable[[slice], Block]) -> Iterator[Block]:
    """Blocks of as many queries as keep their scores within bounds."""
    batch_size, num_queries, num_heads = call.q.shape[:3]
    step = max(1, min(BLOCK_QUERIES, BLOCK_ELEMENTS // max(1, batch_size * num_heads * num_columns)))
    for start in range(0, num_queries, step):
        yield make(slice(start, min(start + step, num_queries)))


@dataclass(frozen=True)
class PaddedKeys:
    """Keys and values with room for the right neighbours of the last query, so that every block is cut alike."""

    k: Tensor
    v: Tensor
    margin: int

    @classmethod
    def of(cls, call: Attention) -> "PaddedKeys":
        assert isinstance(call.pattern, Band)
        margin = call.pattern.right * call.pattern.dilation
        room = (0, 0, 0, 0, 0, margin)
        return cls(F.pad(call.k, room), F.pad(call.v, room), margin) if margin else cls(call.k, call.v, 0)


class BandBlock(Block):
    """A block in the layout of the band: its columns are diagonals, its products a backend's tier 0 kernels.

    Kernels line queries up with the end of the keys; here the keys go on for ``margin`` beyond the block's last query,
    so the kernel is given the same columns as a purely causal band.
    """

    def __init__(self, call: Attention, keys: PaddedKeys, backend: AttentionBackend, queries: slice):
        super().__init__(call, slice(None), queries)
        band = call.pattern
        assert isinstance(band, Band)
        memory = call.k.shape[1] - call.q.shape[1]
        first = max(0, memory + queries.start - band.left * band.dilation)
        self.keys = slice(first, memory + queries.stop + keys.margin)
        self.q = call.q[:, queries]
        self.k, self.v = keys.k[:, self.keys], keys.v[:, self.keys]
        self.band = Band(band.left + band.right, 0, band.dilation)
        self.backend = backend
        self.key_index = torch.arange(memory + queries.start, memory + queries.stop, device=call.q.device)[:, None]
        self.key_index = self.key_index + band.offsets(call.q.device)

    def scores(self) -> Tensor:
        call = self.call
        scores = self.backend.band_qk(self.q, self.k, self.band).to(self.dtype) * call.scale
        added = self.added(slice(None))
        if added is not None:
            scores += added
        seen = (self.key_index >= 0) & (self.key_index < call.k.shape[1])
        if call.valid is not None:
            seen = seen & call.valid[:, self.key_index.clamp(0, call.k.shape[1] - 1)]
        return scores.masked_fill_(~seen.unsqueeze(-2), -torch.inf)

    def key_positions(self) -> Tensor:
        return self.key_index[:, None]

    def weigh(self, probs: Tensor) -> Tensor:
        return self.backend.band_pv(probs, self.v, self.band)

    def probs_gradient(self, dout: Tensor) -> Tensor:
        return self.backend.band_qk(dout.to(self.v.dtype), self.v, self.band).to(self.dtype)

    def add_value_gradients(self, into: GradientSums, probs: Tensor, dout: Tensor) -> None:
        self._add_to_keys(into.v, probs, dout.to(self.v.dtype))

    def add_score_gradients(self, into: GradientSums, dscores: Tensor) -> None:
        into.q[:, self.queries] = self.backend.band_pv(dscores, self.k, self.band) * self.call.scale
        self._add_to_keys(into.k, dscores * self.call.scale, self.q)
        self.add_added_gradients(into, dscores, slice(None))

    def _add_to_keys(self, total: Tensor, weights: Tensor, rows: Tensor) -> None:
        part = self.backend.band_pv_t(weights, rows, self.band, self.k.shape[1])
        target = total[:, self.keys]
        target += part[:, : target.shape[1]]


class KeysBlock(MatmulBlock):
    """A block over :class:`NamedKeys`, of which every row of the batch has its own."""

    def __init__(self, call: Attention, keys: NamedKeys, workspace: Workspace, queries: slice):
        super().__init__(call, slice(None), queries, keys.k, keys.v, workspace)
        self.keys = keys

    def initial_scores(self, scratch: Tensor) -> Tensor:
        scores = self.columns_last(scratch.zero_())
        added = self.added(slice(None))
        if added is not None:
            scores += added
        if self.keys.seen is not None:
            scores.masked_fill_(~self.keys.seen.transpose(1, 2), -torch.inf)
        return scratch

    def add_initial_gradients(self, into: GradientSums, dscores: Tensor) -> None:
        self.add_added_gradients(into, self.columns_last(dscores), slice(None))

    def add_to_keys(self, total: Tensor, part: Tensor) -> None:
        if self.keys.index is None:
            total += part
        else:
            add_to_picked(total, self.keys.index, part)

    def key_positions(self) -> Tensor:
        if self.keys.index is None:
            return torch.arange(self.k.shape[1], device=self.k.device)
        return self.keys.index[:, None]
