"""How the next token is chosen from logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.ops.choice import choose

SMALLEST = 2.0**-25


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

    def __call__(self, logits: Float[Tensor, "B N"]) -> Int[Tensor, "B"]:
        """Choose one class a row."""
        uniform = self.uniform(len(logits), device=logits.device)[:, 0]
        return choose(logits, uniform, self.temperature, self.top_p)

    def uniform(self, *shape: int, device: torch.device) -> Float[Tensor, "... 2"]:
        """Numbers in (0, 1), float32 ``[*shape, 2]``: two a token, of which a choice among classes needs the first."""
        source = self.generator.device if self.generator else device
        drawn = torch.rand(*shape, 2, dtype=torch.float32, generator=self.generator, device=source)
        return drawn.clamp_(min=SMALLEST).to(device)
