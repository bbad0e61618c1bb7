"""Causal self-attention over [past | present], with or without relative positions."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear, linear
from seqmem.layers.shortcut import Shortcut
from seqmem.ops import Band, Ops
from seqmem.ops.dropout import dropping
from seqmem.ops.step import Affine, AttentionLayer, Distances, Norm


@dataclass(frozen=True)
class RelativeTerms:
    """Operands of Transformer-XL's relative positions (Dai et al. 2019, section 3.3).

    Args:
        r: ``W_r R`` of every distance, farthest first, ``[C, H, D]``; column c of a band is distance ``left - c``.
        u: added to queries that meet keys, ``[H, D]``.
        v: added to queries that meet positions, ``[H, D]``.
    """

    r: Float[Tensor, "C H D"]
    u: Float[Tensor, "H D"]
    v: Float[Tensor, "H D"]


class SelfAttention(nn.Module):
    """Multi-head attention whose queries are the present and whose keys are the past and the present."""

    def __init__(self, d_model: int, num_heads: int, head_dim: int, dropout: float, ops: Ops):
        super().__init__()
        self.qkv = Linear(d_model, 3 * num_heads * head_dim, bias=False)
        self.out = Linear(num_heads * head_dim, d_model, bias=False)
        self.heads = (num_heads, head_dim)
        self.width = num_heads * head_dim
        self.dropout = dropout
        self.ops = ops

    def project(self, x: Float[Tensor, "B T d"]) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B T 2 H D"]]:
        """Queries, and keys with values, of the present's inputs."""
        projected = self.qkv(x).unflatten(-1, (3, *self.heads))
        return projected[:, :, 0], projected[:, :, 1:]

    def queries(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T H D"]:
        """Queries alone."""
        return linear(x, self.qkv.weight[: self.width]).unflatten(-1, self.heads)

    def keys_values(self, x: Float[Tensor, "B L d"], frozen: bool = False) -> Float[Tensor, "B L 2 H D"]:
        """Keys and values alone; frozen, gradients reach x but no weight."""
        weight = self.qkv.weight.detach() if frozen else self.qkv.weight
        return linear(x, weight[self.width :]).unflatten(-1, (2, *self.heads))

    def forward(
        self,
        q: Float[Tensor, "B T H D"],
        keys_values: Float[Tensor, "B S 2 H D"],
        band: Band,
        valid: Bool[Tensor, "B S"] | None = None,
        relative: RelativeTerms | None = None,
        with_usage: bool = False,
    ) -> tuple[Float[Tensor, "B T d"], Float[Tensor, "B S H"] | None]:
        """Attend from the last T of the S keys' positions; return also the mass each key received, if asked."""
        k, v = keys_values.unbind(2)
        rel = None
        if relative is not None:
            rel = (q + relative.v, relative.r)
            q = q + relative.u
        dropout = dropping(self.dropout, self.training, q.device)
        out, lse = self.ops.attend(q, k, v, band, rel=rel, valid=valid, **dropout)
        usage = self.ops.key_usage(q, k, band, lse, rel=rel, valid=valid) if with_usage else None
        return self.out(out.flatten(2)), usage


class Block(nn.Module):
    """Attention and feed-forward with residuals; post-LN: ``LN(x + f(x))``, or pre-LN: ``x + f(LN(x))``.

    Pre-LN normalises past inputs with the same LN as the present, as the authors' Transformer-XL code does.

    Args:
        weighted: of attention and of feed-forward, whether the shortcut around it has a weight; post-LN only.
    """

    def __init__(
        self,
        attention: SelfAttention,
        feed_forward: nn.Module,
        d_model: int,
        dropout: float,
        pre_norm: bool,
        weighted: tuple[bool, bool] = (False, False),
    ):
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.attention_norm = nn.LayerNorm(d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.attention_shortcut, self.feed_forward_shortcut = (Shortcut(d_model, one) for one in weighted)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def extend(
        self, past: Tensor, x: Float[Tensor, "B T d"]
    ) -> tuple[Tensor, Float[Tensor, "B T H D"], Float[Tensor, "B S 2 H D"]]:
        """Append the present to the past.

        Args:
            past: earlier inputs ``[B, L, d]``, or cached keys and values ``[B, L, 2, H, D]``.

        Returns:
            The longer past, the present's queries, and the keys and values of all of it, S = L + T.
        """
        is_cached = past.dim() == 5
        q, present = self.attention.project(self._normed(x))
        keys_values = torch.cat([past if is_cached else self.keys_values(past), present], 1)
        return (keys_values if is_cached else torch.cat([past, x], 1)), q, keys_values

    def queries(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T H D"]:
        """Queries that this block's inputs give."""
        return self.attention.queries(self._normed(x))

    def keys_values(self, x: Float[Tensor, "B L d"], frozen: bool = False) -> Float[Tensor, "B L 2 H D"]:
        """Keys and values that this block's inputs give; frozen, gradients reach x but no weight."""
        return self.attention.keys_values(self._normed(x, frozen), frozen)

    def description(self, num_keys: int, relative: RelativeTerms | None) -> AttentionLayer:
        """This block as a step of generation has it, for tokens that see at most ``num_keys`` keys."""
        inner, outer = (Affine.of(layer) for layer in self.feed_forward.modules() if isinstance(layer, nn.Linear))
        return AttentionLayer(
            Affine.of(self.attention.qkv),
            Affine.of(self.attention.out),
            inner,
            outer,
            Norm.of(self.attention_norm),
            Norm.of(self.feed_forward_norm),
            self.attention.heads,
            num_keys,
            self.pre_norm,
            None if relative is None else Distances(relative.r, relative.u, relative.v),
            (self.attention_shortcut.weight, self.feed_forward_shortcut.weight),
        )

    def _normed(self, x: Tensor, frozen: bool = False) -> Tensor:
        if not self.pre_norm:
            return x
        norm = self.attention_norm
        weight, bias = (norm.weight.detach(), norm.bias.detach()) if frozen else (norm.weight, norm.bias)
        return nn.functional.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        q: Float[Tensor, "B T H D"],
        keys_values: Float[Tensor, "B S 2 H D"],
        band: Band,
        valid: Bool[Tensor, "B S"] | None = None,
        relative: RelativeTerms | None = None,
        with_usage: bool = False,
    ) -> tuple[Float[Tensor, "B T d"], Float[Tensor, "B S H"] | None]:
        """The next layer's input; and the attention mass each key received, if asked."""
        attended, usage = self.attention(q, keys_values, band, valid, relative, with_usage)
        x = self.attention_shortcut(x, self.dropout(attended))
        if self.pre_norm:
            return x + self.feed_forward(self.feed_forward_norm(x)), usage
        x = self.attention_norm(x)
        return self.feed_forward_norm(self.feed_forward_shortcut(x, self.feed_forward(x))), usage
