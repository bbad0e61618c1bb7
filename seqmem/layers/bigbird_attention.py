"""BigBird's attention: neighbouring, first and last, and random blocks (Zaheer et al. 2020, section 2)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqmem.layers.block_attention import bigbird_layout
from seqmem.layers.encoder_attention import EncoderAttention
from seqmem.ops import Blocks, Dense, Ops, merge
from seqmem.ops.dropout import dropping


class BigBirdAttention(EncoderAttention):
    """A token sees the blocks that :func:`bigbird_layout` gives its own block, or everything in a short text.

    The layout is that of ``T`` positions, so the last block is that of the last position, token or not. Texts are short
    up to :func:`full_blocks`.

    Args:
        size: tokens of a block.
        num_random: random blocks that a block sees.
        seed: of the random blocks. Without one they are all the first block, which between the first and the last block
            then counts ``1 + num_random`` times, as in Hugging Face's BigBird outside training.
    """

    def __init__(
        self, d_model: int, num_heads: int, size: int, num_random: int, seed: int | None, dropout: float, ops: Ops
    ):
        super().__init__(d_model, num_heads, dropout, ops)
        self.size, self.num_random, self.seed = size, num_random, seed

    def attended(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: None
    ) -> Float[Tensor, "B T H D"]:
        q, k, v = self.projected(x)
        dropout = dropping(self.dropout, self.training, x.device)
        num_blocks = -(-x.shape[1] // self.size)
        if num_blocks <= full_blocks(self.num_random):
            return self.ops.attend(q, k, v, Dense(), valid=valid, **dropout)[0]
        layout = _layout(self.heads[0], num_blocks, self.num_random, self.seed).to(x.device)
        out, lse = self.ops.attend(q, k, v, Blocks(layout, self.size), valid=valid, **dropout)
        if self.seed is not None or not self.num_random:
            return out
        return self._with_first_again(out, lse, (q, k, v), valid)

    def _with_first_again(
        self,
        out: Float[Tensor, "B T H D"],
        lse: Float[Tensor, "B T H"],
        qkv: tuple[Tensor, ...],
        valid: Bool[Tensor, "B T"] | None,
    ) -> Float[Tensor, "B T H D"]:
        """The first block's keys added ``num_random`` times to what all but the first and last block see."""
        size = self.size
        last = (out.shape[1] - 1) // size * size
        q, k, v = qkv
        keys = None if valid is None else valid[:, :size]
        again, weight = self.ops.attend(
            q[:, size:last],
            k[:, :size],
            v[:, :size],
            Dense(),
            valid=keys,
            **dropping(self.dropout, self.training, q.device),
        )
        parts = [(out[:, size:last], lse[:, size:last]), (again, weight + math.log(self.num_random))]
        return torch.cat([out[:, :size], merge(parts)[0], out[:, last:]], 1)


@torch.compiler.disable
def _layout(num_heads: int, num_blocks: int, num_random: int, seed: int | None) -> Bool[Tensor, "#H n n"]:
    """The layout of :class:`BigBirdAttention`; torch.compile would trace NumPy and bypass the cache."""
    drawn = (1, num_blocks, 0, 0) if seed is None else (num_heads, num_blocks, num_random, seed)
    return torch.from_numpy(bigbird_layout(*drawn))


def full_blocks(num_random: int) -> int:
    """Blocks of the longest text that has full attention in the published code."""
    return 5 + 2 * num_random
