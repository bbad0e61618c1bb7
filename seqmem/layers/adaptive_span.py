"""Attention whose heads learn how far they look back (Sukhbaatar et al. 2019, arXiv 1905.07799)."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._subclasses.fake_tensor import is_fake

from seqmem.layers.past_attention import PastAttention
from seqmem.ops import Band, Ops

BLOCK = 64
"""Keys that a head looks at are a multiple of this, so that heads of nearly equal spans are computed as one."""


class AdaptiveSpanAttention(PastAttention):
    """Weights ``m_z(x) exp(s) / sum m_z(x) exp(s)`` over the ``max_span`` tokens before a token, itself left out.

    ``m_z(x) = clamp((R + z - x) / R, 0, 1)`` for the x-th key counted from 0 at the nearest, so that every head sees at
    least R keys. ``s = q . (k + p_x) / sqrt(D)`` with learned vectors p of distances, which all layers and heads share.
    The mask enters as ``log m`` added to the scores, its argument clamped so that gradients stay finite at z = 0; what
    lies beyond a head's ``z + R`` is not computed, neither in training nor after it.

    Args:
        max_span: S, the longest span.
        ramp: R, tokens over which the mask falls from 1 to 0.
    """

    def __init__(
        self, d_model: int, num_heads: int, head_dim: int, max_span: int, ramp: int, dropout: float, ops: Ops
    ) -> None:
        super().__init__(d_model, num_heads, head_dim, dropout, ops)
        self.reach, self.ramp = max_span, ramp
        self.span = nn.Parameter(torch.zeros(num_heads))
        """z of each head as a share of ``max_span``, within [0, 1]."""

    def reset_parameters(self, std: float) -> None:
        super().reset_parameters(std)
        nn.init.zeros_(self.span)

    def spans(self) -> tuple[int, ...]:
        """Tokens before a token that each head looks at now; as many as may be where weights have no values."""
        if is_fake(self.span):
            return (self.reach,) * len(self.span)
        needed = (math.ceil(z * self.reach) + self.ramp for z in self.span.detach().clamp(0, 1).tolist())
        return tuple(min(self.reach, -(-keys // BLOCK) * BLOCK) for keys in needed)

    def num_past(self) -> int:
        return max(self.spans())

    def log_mask(self, num_keys: int) -> Float[Tensor, "1 1 H C"]:
        """``log m`` of the ``num_keys`` tokens before a token, farthest first, and of itself, -inf."""
        nearer = torch.arange(num_keys - 1, -1, -1, dtype=self.span.dtype, device=self.span.device)
        ramp = (self.ramp + self.span[:, None] * self.reach - nearer) / self.ramp
        log_mask = ramp.clamp(torch.finfo(ramp.dtype).tiny, 1).log()
        return nn.functional.pad(log_mask, (0, 1), value=-torch.inf)[None, None]

    def attended(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H D"],
        relative: Float[Tensor, "C H D"],
        **options: Any,
    ) -> Float[Tensor, "B T H D"]:
        spans = self.spans()
        widest = max(spans)
        band = Band(spans if min(spans) < widest else widest)
        rel, bias = (q, relative[len(relative) - widest - 1 :]), self.log_mask(widest)
        return self.ops.attend(q, k, v, band, rel=rel, bias=bias, **options)[0]
