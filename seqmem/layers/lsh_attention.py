"""Reformer's attention: tokens see earlier tokens that hash as they do (Kitaev et al. 2020, section 2)."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqmem.layers.linear import Linear
from seqmem.layers.lsh import Chunks, buckets_of, with_chunk_before
from seqmem.ops import Dense, Ops, merge
from seqmem.ops.autocast import suspended
from seqmem.ops.backend import accumulation_dtype
from seqmem.ops.dropout import dropping
from seqmem.state import State

CHUNKED_COST = 2
"""How many times as long a score within chunks takes as one of all pairs, measured on a CPU."""


@dataclass(frozen=True)
class HashedKeys(State):
    """What attention needs of tokens that were seen, oldest first.

    Args:
        keys: of length 1, ``[B, P, H, D]``.
        values: ``[B, P, H, D]``.
        buckets: of each round, int16 ``[B, P, H, R]``.
    """

    keys: Tensor
    values: Tensor
    buckets: Tensor

    def then(self, later: "HashedKeys") -> "HashedKeys":
        """These, and others after them."""
        pairs = zip((self.keys, self.values, self.buckets), (later.keys, later.values, later.buckets), strict=True)
        return HashedKeys(*(torch.cat(pair, 1) for pair in pairs))


class LSHAttention(nn.Module):
    """Softmax over earlier tokens of the same bucket, near enough in it, in any of several rounds of hashing.

    Queries and keys are one projection, keys scaled to length 1, and scores are ``q . k``. In every round the tokens of
    a bucket are cut into chunks, and a token sees those before it in its own chunk and in the one before that. A token
    found in several rounds counts once: the softmax is over the union. A token sees itself only where nothing else is
    seen, since it is always most like itself.

    Args:
        num_hashes: rounds.
        num_buckets: of a round, even, or 1 for attention to everything within two chunks.
        chunk_len: tokens of a chunk.
    """

    rotations: Tensor

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        num_hashes: int,
        num_buckets: int,
        chunk_len: int,
        dropout: float,
        ops: Ops,
    ) -> None:
        super().__init__()
        self.heads = (num_heads, d_model // num_heads)
        self.num_hashes, self.num_buckets, self.chunk_len = num_hashes, num_buckets, chunk_len
        self.qk = Linear(d_model, d_model, bias=False)
        self.v = Linear(d_model, d_model, bias=False)
        self.out = Linear(d_model, d_model, bias=False)
        columns = max(1, num_buckets // 2)
        self.register_buffer("rotations", torch.empty(num_heads, num_hashes, self.heads[1], columns))
        self.dropout = dropout
        self.ops = ops

    def draw(self) -> None:
        """Hash in a new way from now on."""
        self.rotations.normal_()

    def hashed(
        self, x: Float[Tensor, "B P d"], buckets: Int[Tensor, "B P H R"] | None = None
    ) -> tuple[Float[Tensor, "B P H D"], HashedKeys]:
        """Queries, and what they are seen as.

        Args:
            buckets: found before for the same tokens.
        """
        q, v = self.qk(x).unflatten(-1, self.heads), self.v(x).unflatten(-1, self.heads)
        if buckets is None:
            with torch.no_grad(), suspended(q):
                buckets = buckets_of(q, self.rotations, self.num_buckets).to(torch.int16)
        return q, HashedKeys(F.normalize(q, dim=-1).to(q.dtype), v, buckets)

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        past: Float[Tensor, "B P d"] | HashedKeys,
        buckets: Int[Tensor, "B T H R"] | None = None,
        valid: Bool[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B T d"], HashedKeys]:
        """What the tokens see, and what they are seen as.

        Args:
            past: inputs of earlier tokens, or what they are seen as.
            buckets: of the tokens, found before in the same call.
            valid: which of the earlier tokens take part; all when absent.
        """
        before = past if isinstance(past, HashedKeys) else self.hashed(past)[1]
        q, present = self.hashed(x, buckets)
        num_buckets = self.num_buckets
        if valid is not None:  # the others lie in a bucket of their own, which no query is in
            before = replace(before, buckets=before.buckets.masked_fill(~valid[..., None, None], num_buckets))
            num_buckets += 1
        seen = before.then(present)
        chunks = Chunks.of(seen.buckets, num_buckets, self.chunk_len)
        num_in_chunks = self.num_hashes * chunks.count * 2 * self.chunk_len**2
        all_cost_less = x.shape[1] * seen.keys.shape[1] <= CHUNKED_COST * num_in_chunks
        out, lse = (self._through_all if all_cost_less else self._through_chunks)(q, seen, chunks)
        alone = (lse == -torch.inf)[..., None]
        return self.out(torch.where(alone, present.values, out).flatten(2)), present

    def _through_all(
        self, q: Float[Tensor, "B T H D"], seen: HashedKeys, chunks: Chunks
    ) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B T H"]]:
        """Attention by scores with all tokens, the cheaper way where there are few."""
        return self._attend(q, seen.keys, seen.values, _bias(~chunks.seen(q.shape[1]), q.dtype))

    def _through_chunks(
        self, q: Float[Tensor, "B T H D"], seen: HashedKeys, chunks: Chunks
    ) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B T H"]]:
        """The same by scores within chunks; a key that is seen in several rounds takes part in the first of them."""
        size = self.chunk_len
        later = torch.ones(size, size, dtype=torch.bool, device=q.device).triu()
        later = F.pad(later, (size, 0))[None]
        rounds = []
        for index in range(self.num_hashes):
            off = later | chunks.met_before(index)
            valid = chunks.follows(index)[:, None].expand(-1, size)
            part = self._attend(
                chunks.lay(q, index)[:, :, None],
                with_chunk_before(chunks.lay(seen.keys, index))[:, :, None],
                with_chunk_before(chunks.lay(seen.values, index))[:, :, None],
                _bias(off, q.dtype)[:, :, None],
                torch.cat([valid, torch.ones_like(valid)], 1),
            )
            out, lse = (chunks.take(x.squeeze(2), index, q.shape[1]) for x in part)
            rounds.append((out, lse))
        return merge(rounds)

    def _attend(
        self,
        q: Float[Tensor, "b t h D"],
        k: Float[Tensor, "b s h D"],
        v: Float[Tensor, "b s h D"],
        bias: Float[Tensor, "#b t #h s"],
        valid: Bool[Tensor, "b s"] | None = None,
    ) -> tuple[Float[Tensor, "b t h D"], Float[Tensor, "b t h"]]:
        dropout = dropping(self.dropout, self.training, q.device)
        return self.ops.attend(q, k, v, Dense(), bias=bias, valid=valid, scale=1.0, **dropout)


def _bias(off: Bool[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    """-inf where keys are off."""
    return torch.zeros_like(off, dtype=accumulation_dtype(dtype)).masked_fill_(off, -torch.inf)
