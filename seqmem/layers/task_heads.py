"""Heads that answer about a whole text."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ClassificationHead(nn.Module):
    """Dense, tanh, dense on the first token, CLS (Devlin et al. 2019; the layout of RoBERTa's head)."""

    def __init__(self, d_model: int, num_classes: int):
        super().__init__()
        self.inner = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, num_classes)

    def forward(self, hidden: Float[Tensor, "B T d"]) -> Float[Tensor, "B C"]:
        """Logits of the classes."""
        return self.out(torch.tanh(self.inner(hidden[:, 0])))


class SpanHead(nn.Module):
    """Two numbers a token: how likely an answer begins there, and ends there (Devlin et al. 2019, section 4.2)."""

    def __init__(self, d_model: int):
        super().__init__()
        self.out = nn.Linear(d_model, 2)

    def forward(self, hidden: Float[Tensor, "B T d"]) -> Float[Tensor, "B T 2"]:
        """Logits of beginnings and ends."""
        return self.out(hidden)
