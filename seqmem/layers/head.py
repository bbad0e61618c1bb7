"""What turns hidden states into a distribution over the next token."""

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn


class Sampler(Protocol):
    """Chooses one class a row: ``logits [B, N] -> index [B]``."""

    def __call__(self, logits: Tensor) -> Tensor: ...


class Head(nn.Module):
    """The interface behind ``model.head``; a head need not ever build logits of ``[B, T, V]``."""

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Negative log-likelihood of the targets in nats, float32 (float64 for float64)."""
        raise NotImplementedError

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities of every token; meant for a few positions."""
        raise NotImplementedError

    def sample(self, hidden: Float[Tensor, "B d"], sampler: Sampler) -> Int[Tensor, "B"]:
        """Draw one token a row."""
        return sampler(self.logits(hidden))
