"""Layers that all attend to one memory of what every layer has computed (Fan et al. 2020, arXiv 2002.09402)."""

from collections.abc import Iterator
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.feedback_gradient import Recurrence
from seqmem.layers.feedback_pass import NORM_EPS, LayerWeights, Reader, SharedWeights
from seqmem.layers.positions import sinusoid
from seqmem.ops.autocast import suspended


class FeedbackBlock(nn.Module):
    """A layer's own weights: queries, what becomes of what they meet, and a feed-forward with its norm."""

    def __init__(self, d_model: int, width: int, d_inner: int):
        super().__init__()
        self.query = nn.Linear(d_model, width, bias=False)
        self.out = nn.Linear(width, d_model, bias=False)
        self.feed_forward_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.feed_forward = feed_forward(d_model, d_inner, 0.0)

    def weights(self) -> LayerWeights:
        """All of them."""
        norm = self.feed_forward_norm
        inner, outer = (layer for layer in self.feed_forward if isinstance(layer, nn.Linear))
        return LayerWeights(
            self.query.weight,
            self.out.weight,
            norm.weight,
            norm.bias,
            inner.weight,
            inner.bias,
            outer.weight,
            outer.bias,
        )


class FeedbackLayers(nn.Module):
    """``m_t = sum_l softmax(w)_l x_t^l`` and ``x_t^l = block_l(x_t^(l-1), m_(t-S) ... m_(t-1))``, pre-LN, ReLU.

    One projection makes keys and values of memories for all layers, and the norm before it is the one before queries.
    Scores are ``((q_i + u) . k_j + (q_i + v) . W_r R_(i-j)) / sqrt(D)``, Transformer-XL's relative positions.

    Tokens go through one after the other, in training too, in the weights' dtype whatever autocast says. See
    :mod:`seqmem.layers.feedback_gradient` for what makes that bearable.
    """

    def __init__(self, num_layers: int, d_model: int, heads: tuple[int, int], d_inner: int, dropout: float):
        super().__init__()
        self.heads = heads
        width = heads[0] * heads[1]
        self.norm = nn.LayerNorm(d_model, NORM_EPS)
        self.keys_values = nn.Linear(d_model, 2 * width, bias=False)
        self.positions = nn.Linear(d_model, width, bias=False)
        self.u = nn.Parameter(torch.empty(heads))
        self.v = nn.Parameter(torch.empty(heads))
        self.mix = nn.Parameter(torch.empty(num_layers + 1))
        """w, of the embedding and of each layer."""
        self.blocks = nn.ModuleList(FeedbackBlock(d_model, width, d_inner) for _ in range(num_layers))
        self.dropout = dropout

    def reset_parameters(self, std: float) -> None:
        """Set what is not in Linear layers: u and v N(0, std), equal shares of all layers."""
        nn.init.normal_(self.u, 0, std)
        nn.init.normal_(self.v, 0, std)
        nn.init.zeros_(self.mix)

    def cached(self, memories: Float[Tensor, "B P d"]) -> Float[Tensor, "B P 2 H D"]:
        """Keys and values of memories."""
        return self.keys_values(self.norm(memories)).unflatten(-1, (2, *self.heads))

    def relative(self, mem_len: int) -> Float[Tensor, "C H D"]:
        """``W_r R`` of the distances ``mem_len`` ... 1."""
        weight = self.positions.weight
        precise = torch.promote_types(weight.dtype, torch.float32)
        distance = torch.arange(mem_len, 0, -1, dtype=precise, device=weight.device)
        return self.positions(sinusoid(distance, weight.shape[1]).to(weight.dtype)).unflatten(-1, self.heads)

    def reader(self, relative: Float[Tensor, "C H D"]) -> Reader:
        """What reads tokens without gradient."""
        return Reader(self._shared(relative), tuple(block.weights() for block in self._blocks()))

    def forward(
        self, x: Float[Tensor, "B T d"], past: Float[Tensor, "B P d"], filled: Int[Tensor, "B"], mem_len: int
    ) -> tuple[Float[Tensor, "B T d"], Float[Tensor, "B T d"]]:
        """The last layer's outputs, and the memories that the tokens leave.

        Args:
            past: the memories of the tokens before, oldest first.
            filled: how many of the last of them are seen.
        """
        with suspended(x):
            x = x.to(self.u.dtype)
            weights = [*self._shared(self.relative(mem_len)), *(w for block in self._blocks() for w in block.weights())]
            masks = self._masks(x) if self.training and self.dropout else ()
            passed = Recurrence.apply(x.transpose(0, 1), self.cached(past), filled, len(self.blocks), *weights, *masks)
        hidden, memories = cast(tuple[Tensor, Tensor], passed)
        return hidden.transpose(0, 1), memories.transpose(0, 1)

    def _blocks(self) -> Iterator[FeedbackBlock]:
        return cast(Iterator[FeedbackBlock], iter(self.blocks))

    def _shared(self, relative: Float[Tensor, "C H D"]) -> SharedWeights:
        norm = self.norm
        return SharedWeights(
            norm.weight, norm.bias, self.keys_values.weight, self.mix.softmax(0), self.u, self.v, relative
        )

    def _masks(self, x: Float[Tensor, "B T d"]) -> tuple[Tensor, ...]:
        """Of :class:`Dropped`, ``[T, L, B, width]`` each."""
        batch, num_tokens, d_model = x.shape
        d_inner = next(self._blocks()).weights().inner.shape[0]
        ones = (x.new_ones(num_tokens, len(self.blocks), batch, width) for width in (d_model, d_inner, d_model))
        return tuple(nn.functional.dropout(mask, self.dropout, inplace=True) for mask in ones)
