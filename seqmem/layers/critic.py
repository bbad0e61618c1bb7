"""Whether one segment of a text follows another, told from a vector of each (Cao and Xu 2020)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Critic(nn.Module):
    """T(x, y): a hidden layer over ``[x, y, x - y, x * y, |x - y|]``.

    Args:
        width: of a vector.
        hidden: units of the hidden layer, rectified.
        where: device and dtype, as a linear layer takes them.
    """

    def __init__(self, width: int, hidden: int, **where: Any):
        super().__init__()
        self.hidden = nn.Linear(5 * width, hidden, **where)
        self.score = nn.Linear(hidden, 1, **where)

    def forward(self, x: Float[Tensor, "... d"], y: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
        """High where ``y`` follows ``x``."""
        difference = x - y
        features = torch.cat([x, y, difference, x * y, difference.abs()], -1)
        return self.score(self.hidden(features).relu())[..., 0]
