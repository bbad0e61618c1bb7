"""The head of masked language models."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.linear import Linear
from seqmem.layers.vocabulary import Softmax


class MaskedHead(Softmax):
    """Linear, GELU, norm, and a softmax that shares its matrix with the embedding (Devlin et al. 2019).

    Args:
        gelu: how GELU is computed: ``none`` for exactly, ``tanh`` for its first approximation.
    """

    def __init__(self, vocab_size: int, d_model: int, norm_eps: float, gelu: str):
        super().__init__(vocab_size, d_model)
        self.gelu = gelu
        self.inner = Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model, norm_eps)

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std), biases 0."""
        super().reset_parameters(std)
        nn.init.normal_(self.inner.weight, 0, std)
        nn.init.zeros_(self.inner.bias)

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Vectors of tokens."""
        return F.embedding(tokens, self.weight)

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities."""
        return super().logits(self.norm(F.gelu(self.inner(hidden), approximate=self.gelu)))
