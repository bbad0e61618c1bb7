"""How the next token is chosen from logits."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampler:
    """Draws from the softmax of ``logits / temperature``, cut to its nucleus.

    Args:
        temperature: 0 takes the likeliest; below 1 sharpens, above 1 flattens.
        top_p: the fewest likeliest classes with at least this probability are kept (Holtzman et al. 2020).
        generator: source of randomness, drawn from on its own device; the global one when absent.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    generator: torch.Generator | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Choose one class a row: ``logits [B, N] -> index [B]``."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        probs = torch.softmax(logits / self.temperature, dim=-1)
        if self.top_p < 1:
            probs = _nucleus(probs, self.top_p)
        source = self.generator.device if self.generator else probs.device
        return torch.multinomial(probs.to(source), 1, generator=self.generator).squeeze(-1).to(logits.device)


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    ordered, index = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return torch.zeros_like(probs).scatter(-1, index, ordered.masked_fill(before >= top_p, 0.0))
