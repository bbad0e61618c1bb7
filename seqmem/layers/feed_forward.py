"""The position-wise half of a block."""

from collections.abc import Callable

from torch import Tensor, nn

from seqmem.layers.linear import Linear


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, an approximation of GELU (Hendrycks and Gimpel 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.702 * x).sigmoid()


def feed_forward(
    d_model: int, d_inner: int, dropout: float, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Linear, activation, dropout, Linear, dropout, with biases: ``[..., d_model] -> [..., d_model]``."""
    return nn.Sequential(
        Linear(d_model, d_inner),
        activation(),
        nn.Dropout(dropout),
        Linear(d_inner, d_model),
        nn.Dropout(dropout),
    )
