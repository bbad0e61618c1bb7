"""Locality-sensitive hashing of vectors, and how tokens of one bucket lie in chunks (Kitaev et al. 2020, section 2).

Letters: S tokens, H heads, R rounds of hashing; C chunks of all texts and heads, m tokens each.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOWHERE = -2


def buckets_of(
    x: Float[Tensor, "B S H D"], rotations: Float[Tensor, "H R D n"], num_buckets: int
) -> Int[Tensor, "B S H R"]:
    """``argmax [x W; -x W]``: vectors that point nearly the same way probably share a bucket, whatever their lengths.

    Args:
        rotations: W of each head and round, with a column for every two buckets.
        num_buckets: even, or 1.
    """
    rotated = torch.einsum("bshd,hrdn->bshrn", x, rotations.to(x.dtype))
    return torch.cat([rotated, -rotated], -1)[..., :num_buckets].argmax(-1)


@dataclass(frozen=True)
class Chunks:
    """Tokens sorted by bucket and cut into chunks, which are counted from where each bucket begins.

    So a token's chunk follows from the tokens before it, whatever comes later; cut from the start of the whole sorted
    sequence, as published, chunks shift with every later token. The price is that a bucket's last chunk may be
    partly empty. In a round a token sees those before it in its own chunk, and all of the one before that.

    Args:
        place: of each token in each round, counted over the places of all chunks of all texts and heads.
        number: of its chunk within text and head, such that those of two buckets never follow one another.
        count: how many chunks a text may have in a head, empty ones included.
        size: m.
    """

    place: Int[Tensor, "B S H R"]
    number: Int[Tensor, "B S H R"]
    count: int
    size: int

    @classmethod
    def of(cls, buckets: Int[Tensor, "B S H R"], num_buckets: int, size: int) -> "Chunks":
        batch_size, num_tokens, num_heads, _ = buckets.shape
        bucket = buckets.permute(0, 2, 3, 1).long()
        filled = bucket.new_zeros(*bucket.shape[:-1], num_buckets).scatter_add_(-1, bucket, torch.ones_like(bucket))
        order = bucket.argsort(dim=-1, stable=True)
        begins = (filled.cumsum(-1) - filled).gather(-1, bucket.gather(-1, order))
        rank = torch.empty_like(bucket).scatter_(-1, order, torch.arange(num_tokens, device=bucket.device) - begins)
        num_chunks = (filled + size - 1) // size
        chunk = (num_chunks.cumsum(-1) - num_chunks).gather(-1, bucket) + rank // size
        count = (num_tokens + min(num_buckets, num_tokens) * (size - 1)) // size
        row = torch.arange(batch_size * num_heads, device=bucket.device).view(batch_size, num_heads, 1, 1)
        place = (row * count + chunk) * size + rank % size
        return cls(place.permute(0, 3, 1, 2), (chunk + bucket).permute(0, 3, 1, 2).int(), count, size)

    def lay(self, tokens: Tensor, index: int, filling: float = 0) -> Tensor:
        """The last tokens ``[B, T, H, ...]`` where they belong in a round, ``[C, m, ...]``."""
        batch_size, num_tokens, num_heads = tokens.shape[:3]
        places = tokens.new_full((batch_size * num_heads * self.count * self.size, *tokens.shape[3:]), filling)
        laid = places.index_copy(0, self.place[:, -num_tokens:, :, index].flatten(), tokens.flatten(0, 2))
        return laid.unflatten(0, (-1, self.size))

    def take(self, laid: Tensor, index: int, num_tokens: int) -> Tensor:
        """What lies ``[C, m, ...]`` in a round where the last tokens belong, ``[B, T, H, ...]``."""
        place = self.place[:, -num_tokens:, :, index]
        return laid.flatten(0, 1).index_select(0, place.flatten()).unflatten(0, place.shape)

    def seen(self, num_queries: int) -> Bool[Tensor, "B T H S"]:
        """Which tokens the last ones see in any round."""
        token = torch.arange(self.number.shape[1], device=self.number.device)
        seen = torch.zeros((), dtype=torch.bool, device=self.number.device)
        for number in self.number.unbind(3):
            seen = seen | _is_near(number[:, -num_queries:, :, None], number.transpose(1, 2)[:, None])
        return seen & (token < token[-num_queries:, None, None])

    def follows(self, index: int) -> Bool[Tensor, "C"]:
        """Which chunks of a round have one before them in their bucket."""
        number = self.lay(self.number[..., index], index, NOWHERE)[:, 0].unflatten(0, (-1, self.count))
        return (number.diff(dim=1, prepend=torch.full_like(number[:, :1], NOWHERE)) == 1).flatten()

    def met_before(self, index: int) -> Bool[Tensor, "C m 2m"]:
        """Laid as in one round, which keys a query has seen in the rounds before: of the chunk before, then its own."""
        met = torch.zeros((), dtype=torch.bool, device=self.number.device)
        for number in self.number[..., :index].unbind(3):
            laid = self.lay(number, index)
            met = met | _is_near(laid[..., None], with_chunk_before(laid)[:, None])
        return met


def with_chunk_before(chunks: Tensor) -> Tensor:
    """``[C, m, ...] -> [C, 2m, ...]``, each chunk after the one before it; before the first, the last."""
    return torch.cat([chunks.roll(1, 0), chunks], 1)


def _is_near(query: Int[Tensor, "..."], key: Int[Tensor, "..."]) -> Bool[Tensor, "..."]:
    return (key == query) | (key == query - 1)
