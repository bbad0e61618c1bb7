"""What the self-attentions of encoders have in common."""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear
from seqmem.ops import Ops


class EncoderAttention(nn.Module):
    """Tokens look at tokens on both sides; subclasses say at which. A query that is no token gives 0."""

    def __init__(self, d_model: int, num_heads: int, dropout: float, ops: Ops):
        super().__init__()
        self.heads = (num_heads, d_model // num_heads)
        self.qkv = Linear(d_model, 3 * d_model)
        self.out = Linear(d_model, d_model)
        self.dropout = dropout
        self.ops = ops

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std), biases 0."""
        for layer in (self.qkv, self.out):
            nn.init.normal_(layer.weight, 0, std)
            nn.init.zeros_(layer.bias)

    def attended(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: Any
    ) -> Float[Tensor, "B T H D"]:
        """What the tokens see; arguments as :meth:`forward` has them."""
        raise NotImplementedError

    def forward(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: Any = None
    ) -> Float[Tensor, "B T d"]:
        """What the tokens see, projected.

        Args:
            valid: which are tokens; the others are padding. All when absent.
            seen: what else a subclass must know of the text to say who sees whom.
        """
        out = self.attended(x, valid, seen)
        out = out.flatten(2) if valid is None else out.flatten(2) * valid[..., None]
        return self.out(out)

    def projected(self, x: Float[Tensor, "B T d"]) -> tuple[Tensor, ...]:
        """Queries, keys and values, ``[B, T, H, D]`` each."""
        return self.qkv(x).unflatten(-1, (3, *self.heads)).unbind(2)
