"""Locality-sensitive hashing of vectors, and how tokens of one bucket lie in chunks (Kitaev et al. 2020, section 2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def buckets_of(
    x: Float[Tensor, "B S H D"], rotations: Float[Tensor, "H R D n"], num_buckets: int
) -> Int[Tensor, "B S H R"]:
    """``argmax [x R; -x R]``: vectors that point nearly the same way probably share a bucket, whatever their lengths.

    Args:
        rotations: R of each head, with a column for every two buckets.
        num_buckets: even, or 1.
    """
    rotated = torch.einsum("bshd,hrdn->bshrn", x, rotations.to(x.dtype))
    return torch.cat([rotated, -rotated], -1)[..., :num_buckets].argmax(-1)


@dataclass(frozen=True)
class Chunks:
    """Tokens sorted by bucket and cut into chunks, which are counted from where each bucket begins.

    So a token's chunk follows from the tokens before it, whatever comes later; cut from the start of the whole sorted
    sequence, as published, chunks shift with every later token. The price is that a bucket's last chunk may be
    partly empty.

    Args:
        place: of each token, counted over all chunks, ``[B, H, R, S]``.
        number: of its chunk, counted so that chunks of two buckets never have neighbouring numbers, ``[B, H, R, S]``.
        count: how many chunks there may be, empty ones included.
        size: tokens of a chunk.
    """

    place: Int[Tensor, "B H R S"]
    number: Int[Tensor, "B H R S"]
    count: int
    size: int

    @classmethod
    def of(cls, buckets: Int[Tensor, "B H R S"], num_buckets: int, size: int) -> "Chunks":
        num_tokens = buckets.shape[-1]
        filled = buckets.new_zeros(*buckets.shape[:-1], num_buckets)
        filled = filled.scatter_add_(-1, buckets, torch.ones_like(buckets))
        order = buckets.argsort(dim=-1, stable=True)
        begins = (filled.cumsum(-1) - filled).gather(-1, buckets.gather(-1, order))
        ranks = torch.arange(num_tokens, device=buckets.device) - begins
        rank = torch.empty_like(buckets).scatter_(-1, order, ranks)
        num_chunks = (filled + size - 1) // size
        place = (num_chunks.cumsum(-1) - num_chunks).gather(-1, buckets) * size + rank
        used = min(num_buckets, num_tokens)
        return cls(place, place // size + buckets, (num_tokens + used * (size - 1)) // size, size)

    def of_round(self, index: int) -> Int[Tensor, "B H S"]:
        """Places in one round of hashing."""
        return self.place[:, :, index]

    def laid_out(self, tokens: Tensor, index: int, filling: float = 0) -> Tensor:
        """Tokens ``[B, H, S, ...]`` in their places of a round, ``[B, H, count, size, ...]``."""
        place = self.of_round(index).view(*tokens.shape[:3], *(1 for _ in tokens.shape[3:])).expand_as(tokens)
        empty = tokens.new_full((*tokens.shape[:2], self.count * self.size, *tokens.shape[3:]), filling)
        return empty.scatter(2, place, tokens).unflatten(2, (self.count, self.size))

    def seen(self, num_queries: int) -> Bool[Tensor, "B H T S"]:
        """Which tokens before them the last ones see in any round: those of their own chunk and the one before it."""
        num_tokens = self.number.shape[-1]
        token = torch.arange(num_tokens, device=self.number.device)
        seen = torch.zeros((), dtype=torch.bool, device=self.number.device)
        for number in self.number.unbind(2):
            seen = seen | _near(number[..., -num_queries:, None], number[..., None, :])
        return seen & (token < token[-num_queries:, None])

    def rounds_that_see(self, index: int) -> Int[Tensor, "B H N m 2m"]:
        """Laid out as in one round, in how many rounds the query of a place sees the key of a place.

        Keys are those of the chunk before and of the query's own. 0 where they do not meet in that round.
        """

        def near(other: int) -> Bool[Tensor, "B H N m 2m"]:
            number = self.laid_out(self.number[:, :, other], index)
            return _near(number[..., None], with_chunk_before(number)[..., None, :])

        token = torch.arange(self.number.shape[-1], device=self.number.device).expand_as(self.number[:, :, 0])
        query = self.laid_out(token, index, filling=-1)
        key = with_chunk_before(query, filling=-1)[..., None, :]
        here = near(index) & (key >= 0) & (key < query[..., None])
        rounds = here.int()
        for other in range(self.number.shape[2]):
            if other != index:
                rounds = rounds + (near(other) & here)
        return rounds


def with_chunk_before(chunks: Tensor, filling: float = 0) -> Tensor:
    """``[B, H, N, m, ...] -> [B, H, N, 2m, ...]``, every chunk after the one before it."""
    before = F.pad(chunks[:, :, :-1], (0, 0) * (chunks.dim() - 3) + (1, 0), value=filling)
    return torch.cat([before, chunks], 3)


def _near(query: Tensor, key: Tensor) -> Tensor:
    behind = query - key
    return (behind == 0) | (behind == 1)
