"""What turns hidden states into a distribution over the next token."""

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

ALL = slice(0, None)


class Sampler(Protocol):
    """Chooses one class a row: ``logits [B, N] -> index [B]``; see :class:`seqmem.generate.sampling.Sampler`."""

    @property
    def temperature(self) -> float: ...

    @property
    def top_p(self) -> float: ...

    def __call__(self, logits: Float[Tensor, "B N"]) -> Int[Tensor, "B"]: ...

    def uniform(self, *shape: int, device: torch.device) -> Float[Tensor, "... 2"]:
        """The random numbers of as many choices, two for each."""


class Head(nn.Module):
    """The interface behind ``model.head``; a head need not ever build logits of ``[B, T, V]``."""

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Negative log-likelihood of the targets in nats, float32 (float64 for float64)."""
        raise NotImplementedError

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Unnormalised log-probabilities of every token; meant for a few positions."""
        raise NotImplementedError

    def sample(self, hidden: Float[Tensor, "B d"], sampler: Sampler, ids: slice = ALL) -> Int[Tensor, "B"]:
        """Draw one token a row, among ``ids``."""
        return ids.start + sampler(self.logits(hidden)[:, ids])

    def log_prob(self, hidden: Float[Tensor, "B d"], tokens: Int[Tensor, "B"], ids: slice = ALL) -> Float[Tensor, "B"]:
        """Natural logarithm of the tokens' probabilities, given that they are among ``ids``."""
        log_probs = self.logits(hidden)[:, ids].log_softmax(-1)
        return log_probs.gather(1, tokens[:, None] - ids.start)[:, 0]
