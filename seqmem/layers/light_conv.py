"""Lightweight and dynamic convolutions (Wu et al. 2019, arXiv 1901.10430)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear
from seqmem.ops import Band, Ops


class LightConvolution(nn.Module):
    """Linear to 2 d, GLU, a depth-wise causal convolution whose taps are softmaxed and shared, Linear.

    Channel c has the taps of head ``c // (d / H)``, tap K - 1 is the present. Lightweight convolution learns its taps;
    dynamic convolution computes them from the present token. Taps that reach before the first token are dropped after
    the softmax, as in the published code: the weights of a token that has fewer than K sum to less than 1.

    Args:
        kernel_size: K.
        dynamic: taps depend on the token.
        weight_dropout: chance of each softmaxed tap to be dropped, for each token anew.
    """

    def __init__(
        self, d_model: int, num_heads: int, kernel_size: int, dynamic: bool, weight_dropout: float, ops: Ops
    ) -> None:
        super().__init__()
        self.heads = (num_heads, d_model // num_heads)
        self.reach = kernel_size - 1
        self.inner = Linear(d_model, 2 * d_model)
        self.taps = Linear(d_model, num_heads * kernel_size, bias=False) if dynamic else None
        self.fixed_taps = None if dynamic else nn.Parameter(torch.empty(num_heads, kernel_size))
        self.out = Linear(d_model, d_model)
        self.weight_dropout = nn.Dropout(weight_dropout)
        self.ops = ops

    def reset_parameters(self, std: float) -> None:
        """Taps N(0, std); the rest is Linear layers."""
        if self.fixed_taps is not None:
            nn.init.normal_(self.fixed_taps, 0, std)

    def cached(self, past: Float[Tensor, "B P d"]) -> Float[Tensor, "B P d"]:
        """The past is kept as steps want it already."""
        return past

    def weights(self, gated: Float[Tensor, "B T d"]) -> Float[Tensor, "B T H K"]:
        """Softmaxed taps of every token."""
        if self.taps is not None:
            taps = self.taps(gated).unflatten(-1, (self.heads[0], -1))
        else:
            assert self.fixed_taps is not None
            taps = self.fixed_taps.expand(*gated.shape[:2], -1, -1)
        return self.weight_dropout(taps.softmax(-1))

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        past: Float[Tensor, "B P d"],
        valid: Bool[Tensor, "B P"] | None,
        relative: Tensor,
    ) -> tuple[Float[Tensor, "B T d"], Float[Tensor, "B T d"]]:
        """What the tokens take from each other, and what they leave for those after them.

        Args:
            past: gated inputs of the tokens before, oldest first.
            valid: which of them take part; all when absent.
            relative: not used.
        """
        gated = nn.functional.glu(self.inner(x))
        if valid is not None:
            past = past * valid[..., None]
        values = torch.cat([past, gated], 1).unflatten(-1, self.heads)
        return self.out(self.ops.band_pv(self.weights(gated), values, Band(self.reach)).flatten(2)), gated
