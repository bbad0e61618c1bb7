"""The shortcut around a branch of a post-LN layer, plain or with the weight of Admin (Liu et al. 2020)."""

from jaxtyping import Float
from torch import Tensor, nn, ones


class Shortcut(nn.Module):
    """``x + branch``, or ``omega x + branch`` with a learned omega ``[d]``, 1 until :mod:`seqmem.layers.admin` sets it.

    Attributes:
        weight: omega; None without.
    """

    def __init__(self, d_model: int, weighted: bool):
        super().__init__()
        self.weight = nn.Parameter(ones(d_model)) if weighted else None

    def forward(self, x: Float[Tensor, "... d"], branch: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return x + branch if self.weight is None else x * self.weight + branch
