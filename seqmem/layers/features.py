"""Features whose products are kernels of attention: ``exp(q . k / sqrt(D))`` by random ones, or a kernel of its own."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Features(nn.Module):
    """Positive features of queries and keys.

    Attributes:
        num_features: M.
    """

    num_features: int

    def reset_parameters(self) -> None:
        """Set what is not learned."""

    def draw(self) -> int:
        """Which features these are; another number says that sums of the ones before are worth nothing."""
        return 0

    def forward(self, x: Float[Tensor, "B T H D"]) -> Float[Tensor, "B T H M"]:
        """Natural logs of the features."""
        raise NotImplementedError


class EluFeatures(Features):
    """``elu(x) + 1``, for a kernel of its own, without a scale (Katharopoulos et al. 2020, equation 7)."""

    def __init__(self, width: int):
        super().__init__()
        self.num_features = width

    def forward(self, x: Float[Tensor, "B T H D"]) -> Float[Tensor, "B T H D"]:
        return torch.where(x > 0, x.clamp(min=0).log1p(), x)


class RandomFeatures(Features):
    """FAVOR+: positive random features of the softmax kernel (Choromanski et al. 2020, arXiv 2009.14794, lemma 1).

    ``exp(w . x - |x|^2 / 2) / sqrt(M)`` with ``x = q / D^(1/4)``, whose products average ``exp(q . k / sqrt(D))``. The
    directions w of each D of them are orthogonal, their lengths those of independent normal vectors.

    Args:
        redraw_every: calls in training after which directions are drawn anew; never for 0.
    """

    directions: Tensor

    def __init__(self, width: int, num_features: int, redraw_every: int):
        super().__init__()
        self.num_features = num_features
        self.redraw_every = redraw_every
        self.register_buffer("directions", torch.empty(num_features, width))
        self.calls = 0

    def reset_parameters(self) -> None:
        self.directions.copy_(orthogonal(self.num_features, self.directions.shape[1]))

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        self.calls = int(state)

    def draw(self) -> int:
        if not self.redraw_every:
            return 0
        if self.training:
            if self.calls and self.calls % self.redraw_every == 0:
                self.reset_parameters()
            self.calls += 1
        return max(0, self.calls - 1) // self.redraw_every

    def forward(self, x: Float[Tensor, "B T H D"]) -> Float[Tensor, "B T H M"]:
        x = x / x.shape[-1] ** 0.25
        projected = x @ self.directions.to(x.dtype).T
        return projected - x.square().sum(-1, keepdim=True) / 2 - math.log(self.num_features) / 2


def orthogonal(num: int, width: int) -> Float[Tensor, "num width"]:
    """Vectors of which each ``width`` are orthogonal, as long as independent standard normal ones."""
    blocks = [torch.linalg.qr(torch.randn(width, width)).Q.T for _ in range(-(-num // width))]
    return torch.cat(blocks)[:num] * torch.randn(num, width).norm(dim=1, keepdim=True)
