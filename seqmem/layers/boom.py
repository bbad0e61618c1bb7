"""The feed-forward layer of SHA-RNN (Merity 2019, arXiv 1911.11423)."""

from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear


class Boom(nn.Module):
    """Linear to ``d_inner``, GELU as ``x * sigmoid(1.702 x)``, dropout; the way back is a sum of chunks, no matrix.

    Args:
        d_inner: a multiple of ``d_model``.
    """

    def __init__(self, d_model: int, d_inner: int, dropout: float):
        super().__init__()
        self.linear = Linear(d_model, d_inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        inner = self.linear(x)
        inner = self.dropout(inner * (1.702 * inner).sigmoid())
        return inner.unflatten(-1, (-1, x.shape[-1])).sum(-2)
