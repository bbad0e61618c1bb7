"""The head of masked language models."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.head import Head


class MaskedHead(Head):
    """Linear, GELU, norm, and a softmax that shares its matrix with the embedding (Devlin et al. 2019)."""

    def __init__(self, vocab_size: int, d_model: int, norm_eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.inner = nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model, norm_eps)

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std), biases 0."""
        nn.init.normal_(self.weight, 0, std)
        nn.init.normal_(self.inner.weight, 0, std)
        nn.init.zeros_(self.inner.bias)

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Vectors of tokens."""
        return F.embedding(tokens, self.weight)

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities."""
        return F.linear(self.norm(F.gelu(self.inner(hidden))), self.weight, self.bias)

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Negative log-likelihood in nats."""
        logits = self.logits(hidden.flatten(0, -2))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits, targets.flatten(), reduction="none").view(targets.shape)
