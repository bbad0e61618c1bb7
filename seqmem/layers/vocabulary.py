"""Vectors to distributions over tokens, and tokens to vectors, sharing weights."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.head import Head
from seqmem.layers.linear import linear
from seqmem.ops.autocast import suspended

PROJECTION_STD = 0.01


class Softmax(Head):
    """A linear map to logits, for a model that embeds tokens in a way of its own."""

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def reset_parameters(self, std: float) -> None:
        nn.init.normal_(self.weight, 0, std)

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities."""
        return linear(hidden, self.weight, self.bias)

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Negative log-likelihood in nats."""
        logits = self.logits(hidden.flatten(0, -2))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits, targets.flatten(), reduction="none").view(targets.shape)


class TiedSoftmax(Softmax):
    """One matrix for the embedding and the softmax; the embedding is scaled by ``sqrt(d)``."""

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        return F.embedding(tokens, self.weight) * math.sqrt(self.weight.shape[1])


class AdaptiveSoftmax(Head):
    """PyTorch's adaptive softmax, its class vectors shared with an adaptive embedding (Baevski and Auli 2019).

    Frequent tokens must have the smallest ids. Cluster i has vectors of width ``d / div_value^i``. The embedding has
    projections of its own up to ``d``. PyTorch has a projection in every tail cluster and none in the head; for the
    layout of Transformer-XL's authors see :class:`seqmem.layers.projected_softmax.ProjectedSoftmax`.

    Args:
        cutoffs: first id of every cluster but the first.
    """

    def __init__(self, vocab_size: int, d_model: int, cutoffs: Sequence[int], div_value: float):
        super().__init__()
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(d_model, vocab_size, list(cutoffs), div_value, head_bias=True)
        self.borders = [0, *cutoffs, vocab_size]
        widths = [classes.weight.shape[1] for _, classes in self._tails()]
        self.projections = nn.ModuleList(nn.Linear(width, d_model, bias=False) for width in widths)
        self.d_model = d_model

    def reset_parameters(self, std: float) -> None:
        nn.init.normal_(self.softmax.head.weight, 0, std)
        nn.init.zeros_(self.softmax.head.bias)
        for projection, classes in self._tails():
            nn.init.normal_(projection.weight, 0, PROJECTION_STD)
            nn.init.normal_(classes.weight, 0, std)
        for layer in self.projections:
            nn.init.normal_(cast(nn.Linear, layer).weight, 0, PROJECTION_STD)

    def _tails(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Projection and class vectors of every cluster but the first."""
        return [cast(tuple[nn.Linear, nn.Linear], tuple(cast(nn.Sequential, tail))) for tail in self.softmax.tail]

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        vectors = self.softmax.head.weight.new_zeros(*tokens.shape, self.d_model)
        for cluster, (low, high) in enumerate(pairwise(self.borders)):
            mine = (tokens >= low) & (tokens < high)
            ids = tokens[mine] - low
            if cluster == 0:
                vectors[mine] = F.embedding(ids, self.softmax.head.weight[:high])
            else:
                _, classes = self._tails()[cluster - 1]
                vectors[mine] = self.projections[cluster - 1](F.embedding(ids, classes.weight)).to(vectors.dtype)
        return vectors * math.sqrt(self.d_model)

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Log-probabilities of every token: large, meant for a few positions."""
        with suspended(hidden):
            return self.softmax.log_prob(self._rows(hidden)).view(*hidden.shape[:-1], -1)

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Negative log-likelihood in nats, without building a row over the whole vocabulary."""
        with suspended(hidden):
            return -self.softmax(self._rows(hidden), targets.flatten()).output.view(targets.shape)

    def _rows(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "N d"]:
        """In the weights' dtype: PyTorch's adaptive softmax takes its logarithms in that of its inputs."""
        return hidden.flatten(0, -2).to(self.softmax.head.weight.dtype)
