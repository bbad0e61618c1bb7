"""What causal self-attentions over an explicit past have in common."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear, linear
from seqmem.ops import Ops
from seqmem.ops.dropout import dropping


class PastAttention(nn.Module):
    """Queries of the present, keys and values of the past and the present; subclasses say who sees whom.

    Attributes:
        reach: tokens before a token that are ever looked at.
    """

    reach: int

    def __init__(self, d_model: int, num_heads: int, head_dim: int, dropout: float, ops: Ops):
        super().__init__()
        self.heads = (num_heads, head_dim)
        self.width = num_heads * head_dim
        self.qkv = Linear(d_model, 3 * self.width, bias=False)
        self.out = Linear(self.width, d_model, bias=False)
        self.dropout = dropout
        self.ops = ops

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, std)

    def num_past(self) -> int:
        """Tokens before a token that are looked at now, at most :attr:`reach`."""
        return self.reach

    def cached(self, past: Float[Tensor, "B P d"]) -> Float[Tensor, "B P 2 H D"]:
        """Keys and values of past inputs."""
        return linear(past, self.qkv.weight[self.width :]).unflatten(-1, (2, *self.heads))

    def attended(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H D"],
        relative: Float[Tensor, "C H D"],
        **options: Any,
    ) -> Float[Tensor, "B T H D"]:
        """What the queries see.

        Args:
            options: ``valid``, ``dropout`` and ``seed``, to be passed to :meth:`Ops.attend` as they are, and what a
                subclass takes besides.
        """
        raise NotImplementedError

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        past: Tensor,
        valid: Bool[Tensor, "B P"] | None,
        relative: Float[Tensor, "C H D"],
        **context: Any,
    ) -> tuple[Float[Tensor, "B T d"], Tensor]:
        """What the tokens see, and what they leave for those after them.

        Args:
            past: what the tokens before left, oldest first: inputs ``[B, P, d]``, or keys and values as :meth:`cached`
                gives them.
            valid: which of them take part; all when absent.
            relative: of every distance that occurs, farthest first.
            context: what else :meth:`attended` of a subclass takes.
        """
        q, k, v, valid, left = self.operands(x, past, valid)
        out = self.attended(
            q, k, v, relative, valid=valid, **dropping(self.dropout, self.training, x.device), **context
        )
        return self.out(out.flatten(2)), left

    def operands(
        self, x: Float[Tensor, "B T d"], past: Tensor, valid: Bool[Tensor, "B P"] | None = None
    ) -> tuple[
        Float[Tensor, "B T H D"], Float[Tensor, "B S H D"], Float[Tensor, "B S H D"], Bool[Tensor, "B S"] | None, Tensor
    ]:
        """Queries, keys and values, which keys take part, and what the tokens leave; see :meth:`forward`."""
        is_cached = past.dim() == 5
        near = slice(max(0, past.shape[1] - self.num_past()), None)
        projected = self.qkv(x).unflatten(-1, (3, *self.heads))
        q, present = projected[:, :, 0], projected[:, :, 1:]
        k, v = torch.cat([past[:, near] if is_cached else self.cached(past[:, near]), present], 1).unbind(2)
        if valid is not None:
            valid = nn.functional.pad(valid[:, near], (0, x.shape[1]), value=True)
        return q, k, v, valid, present if is_cached else x
