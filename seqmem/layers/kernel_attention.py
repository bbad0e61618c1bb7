"""Causal attention in linear time, by features of queries and keys, with sums over the past as its state."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seqmem.layers.features import Features
from seqmem.layers.linear import Linear
from seqmem.layers.mixer import Mixer
from seqmem.ops import Ops
from seqmem.ops.autocast import suspended
from seqmem.ops.backend import accumulation_dtype
from seqmem.state import State


@dataclass(frozen=True)
class SumState(State):
    """Sums over all tokens so far, in float32 (float64 for float64).

    Args:
        sums: of ``feature(k) [v, 1]^T / exp(offset)``, ``[B, H, M, D + 1]``.
        offset: the largest log of a key's feature so far, ``[B, H]``; -inf before the first token.
        draw: which features they are of.
    """

    sums: Tensor
    offset: Tensor
    draw: int


class KernelAttention(Mixer):
    """``out_t = sum_{i <= t} (f(q_t) . f(k_i)) v_i / sum_{i <= t} f(q_t) . f(k_i)``.

    Features are formed in the range of float32, however large they are: a query's are divided by the largest of them,
    which cancels, keys' by the largest of any key so far. When that grows, the sums shrink by as much, as if they
    decayed. So no token's result depends on a later one, not even by rounding, as it does where the largest of all keys
    is taken.
    """

    def __init__(self, d_model: int, num_heads: int, features: Features, ops: Ops):
        super().__init__()
        self.heads = (num_heads, d_model // num_heads)
        self.qkv = Linear(d_model, 3 * d_model)
        self.out = Linear(d_model, d_model)
        self.features = features
        self.ops = ops

    def reset_parameters(self, std: float) -> None:
        self.features.reset_parameters()

    def init_state(self, batch_size: int) -> SumState:
        return self._empty(batch_size, 0)

    def _empty(self, batch_size: int, draw: int) -> SumState:
        (num_heads, width), like = self.heads, self.qkv.weight
        dtype = accumulation_dtype(like.dtype)
        sums = like.new_zeros(batch_size, num_heads, self.features.num_features, width + 1, dtype=dtype)
        return SumState(sums, torch.full_like(sums[:, :, 0, 0], -torch.inf), draw)

    def forward(self, x: Float[Tensor, "B T d"], state: SumState) -> tuple[Float[Tensor, "B T d"], SumState]:
        draw = self.features.draw()
        if draw != state.draw:
            state = self._empty(len(x), draw)
        q, k, v = self.qkv(x).to(state.sums.dtype).unflatten(-1, (3, *self.heads)).unbind(2)
        with suspended(x):
            summed, after = self._summed(q, k, v, state)
            out = summed[..., :-1] / summed[..., -1:].clamp(min=torch.finfo(summed.dtype).tiny)
        return self.out(out.flatten(2).to(x.dtype)), after

    def _summed(
        self, q: Float[Tensor, "B T H D"], k: Float[Tensor, "B T H D"], v: Float[Tensor, "B T H D"], state: SumState
    ) -> tuple[Float[Tensor, "B T H E"], SumState]:
        """Values and ones, weighted by products of features that queries and keys have up to factors of a row."""
        log_q, log_k = self.features(q), self.features(k)
        largest = torch.cat([state.offset[:, None], log_k.detach().amax(-1)], 1).cummax(1).values
        before, now = largest[:, :-1], largest[:, 1:]
        decay = (before - now).masked_fill(before == -torch.inf, 0)
        of_q = (log_q - log_q.detach().amax(-1, keepdim=True)).exp()
        of_k = (log_k - now[..., None]).exp()
        out, sums = self.ops.linear_attention(of_q, of_k, F.pad(v, (0, 1), value=1.0), decay, state.sums)
        return out, SumState(sums, largest[:, -1], state.draw)
