"""The position-wise half of a block."""

from torch import nn


def feed_forward(d_model: int, d_inner: int, dropout: float) -> nn.Sequential:
    """Linear, ReLU, dropout, Linear, dropout, with biases: ``[..., d_model] -> [..., d_model]``."""
    return nn.Sequential(
        nn.Linear(d_model, d_inner),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(d_inner, d_model),
        nn.Dropout(dropout),
    )
