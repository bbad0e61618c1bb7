"""Causal self-attention to a window, which may be dilated in some heads, with relative positions."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.past_attention import PastAttention
from seqmem.layers.positions import sinusoid
from seqmem.ops import Band, Ops


class WindowAttention(PastAttention):
    """Every token sees ``window`` tokens: itself and those before it, ``dilation`` apart.

    ``A_ij = ((q_i + u) . k_j + (q_i + v) . W_r R_{i-j}) / sqrt(D)``, Transformer-XL's relative positions (Dai et al.
    2019, section 3.3), without a bias in any projection.

    Args:
        window: tokens, the token itself included; Longformer's paper counts both sides, its code one side without the
            token, so that its causal ``w`` is ``window - 1``.
        dilations: of each head; 1 for neighbours.
    """

    def __init__(
        self, d_model: int, head_dim: int, window: int, dilations: tuple[int, ...], dropout: float, ops: Ops
    ) -> None:
        super().__init__(d_model, len(dilations), head_dim, dropout, ops)
        self.window, self.dilations = window, dilations
        self.band = Band(window - 1, 0, dilations if len(set(dilations)) > 1 else dilations[0])
        self.reach = (window - 1) * max(dilations)
        self.positions = nn.Linear(d_model, self.width, bias=False)
        self.u = nn.Parameter(torch.empty(self.heads))
        self.v = nn.Parameter(torch.empty(self.heads))

    def relative(self) -> Float[Tensor, "C H D"]:
        """``W_r R`` of the distances that each head sees, farthest first."""
        weight = self.positions.weight
        precise = torch.promote_types(weight.dtype, torch.float32)
        steps = torch.arange(self.window - 1, -1, -1, dtype=precise, device=weight.device)
        encodings = {
            dilation: sinusoid(steps * dilation, weight.shape[1]).to(weight.dtype) for dilation in set(self.dilations)
        }
        if len(encodings) == 1:
            return self.positions(encodings[self.dilations[0]]).unflatten(-1, self.heads)
        by_head = torch.stack([encodings[dilation] for dilation in self.dilations])
        return torch.einsum("hce,hde->chd", by_head, weight.unflatten(0, self.heads))

    def attended(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H D"],
        relative: Float[Tensor, "C H D"],
        **options: Any,
    ) -> Float[Tensor, "B T H D"]:
        return self.ops.attend(q + self.u, k, v, self.band, rel=(q + self.v, relative), **options)[0]
