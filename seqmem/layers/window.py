"""Causal self-attention to a window, which may be dilated in some heads, with relative positions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.positions import sinusoid
from seqmem.ops import Band, Ops


class WindowAttention(nn.Module):
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
        super().__init__()
        self.heads = (len(dilations), head_dim)
        self.width = len(dilations) * head_dim
        self.window, self.dilations = window, dilations
        same = len(set(dilations)) == 1
        self.band = Band(window - 1, 0, dilations[0] if same else dilations)
        self.reach = (window - 1) * max(dilations)
        self.qkv = nn.Linear(d_model, 3 * self.width, bias=False)
        self.out = nn.Linear(self.width, d_model, bias=False)
        self.positions = nn.Linear(d_model, self.width, bias=False)
        self.u = nn.Parameter(torch.empty(self.heads))
        self.v = nn.Parameter(torch.empty(self.heads))
        self.dropout = dropout
        self.ops = ops

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, std)

    def cached(self, past: Float[Tensor, "B P d"]) -> Float[Tensor, "B P 2 H D"]:
        """Keys and values of past inputs."""
        return nn.functional.linear(past, self.qkv.weight[self.width :]).unflatten(-1, (2, *self.heads))

    def relative(self) -> Float[Tensor, "C H D"]:
        """``W_r R`` of the distances that each head sees, farthest first."""
        weight = self.positions.weight
        precise = torch.promote_types(weight.dtype, torch.float32)
        steps = torch.arange(self.window - 1, -1, -1, dtype=precise, device=weight.device)
        by_dilation = {
            dilation: sinusoid(steps * dilation, weight.shape[1]).to(weight.dtype) for dilation in set(self.dilations)
        }
        if len(by_dilation) == 1:
            return self.positions(by_dilation[self.dilations[0]]).unflatten(-1, self.heads)
        encodings = torch.stack([by_dilation[dilation] for dilation in self.dilations])
        return torch.einsum("hce,hde->chd", encodings, weight.unflatten(0, self.heads))

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        past: Tensor,
        valid: Bool[Tensor, "B P"] | None = None,
        relative: Float[Tensor, "C H D"] | None = None,
    ) -> tuple[Float[Tensor, "B T d"], Tensor]:
        """What the tokens see, and what they leave for those after them.

        Args:
            past: what the tokens before left, oldest first: inputs ``[B, P, d]``, or keys and values as :meth:`cached`
                gives them, of all tokens or of the last :attr:`reach`.
            valid: which of them take part; all when absent.
            relative: as :meth:`relative` gives it, if it is at hand.
        """
        projected = self.qkv(x).unflatten(-1, (3, *self.heads))
        q, present = projected[:, :, 0], projected[:, :, 1:]
        is_cached = past.dim() == 5
        k, v = torch.cat([past if is_cached else self.cached(past), present], 1).unbind(2)
        if valid is not None:
            valid = nn.functional.pad(valid, (0, x.shape[1]), value=True)
        relative = self.relative() if relative is None else relative
        dropout = self.dropout if self.training else 0.0
        seed = torch.randint(2**62, (), device=x.device) if dropout else None
        rel = (q + self.v, relative)
        out, _ = self.ops.attend(q + self.u, k, v, self.band, rel=rel, valid=valid, dropout=dropout, seed=seed)
        return self.out(out.flatten(2)), present if is_cached else x
