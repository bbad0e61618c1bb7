"""A projection followed by a short convolution, as linear recurrent layers have it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear
from seqmem.ops import Ops


class ConvolvedProjection(nn.Module):
    """Linear, a depth-wise causal convolution over time, SiLU: ``[B, T, d] -> [B, T, e]``."""

    def __init__(self, d_in: int, d_out: int, kernel_size: int, ops: Ops):
        super().__init__()
        self.linear = Linear(d_in, d_out, bias=False)
        self.taps = nn.Parameter(torch.empty(d_out, 1, kernel_size))
        self.ops = ops

    def reset_parameters(self) -> None:
        """The tap of the present 1, those of the past uniform and small; the rest is a Linear layer."""
        bound = self.taps.shape[2] ** -0.5 / 2
        nn.init.uniform_(self.taps, -bound, bound)
        nn.init.ones_(self.taps[:, :, -1])

    def initial(self, batch_size: int) -> Float[Tensor, "B P e"]:
        """What stands before the first token."""
        return self.taps.new_zeros(batch_size, self.taps.shape[2] - 1, len(self.taps))

    def forward(self, x: Float[Tensor, "B T d"], past: Float[Tensor, "B P e"]) -> tuple[Tensor, Tensor]:
        """The projection, and what it leaves for the next call."""
        out, past = self.ops.causal_conv1d(self.linear(x), self.taps, groups=len(self.taps), state=past)
        return nn.functional.silu(out), past
