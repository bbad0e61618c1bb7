"""Which class is chosen, given logits and a number that is uniform in (0, 1)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def choose(
    logits: Float[Tensor, "B N"], uniform: Float[Tensor, "B"], temperature: float, top_p: float
) -> Int[Tensor, "B"]:
    """Invert the cumulative probability, in the classes' order.

    Args:
        temperature: divides the logits; 0 takes the likeliest class, the first of equals.
        top_p: the fewest likeliest classes with at least this probability are kept (Holtzman et al. 2020).
    """
    if temperature == 0:
        return logits.argmax(-1)
    probs = torch.softmax(logits / temperature, -1)
    if top_p < 1:
        probs = nucleus(probs, top_p)
    cumulative = probs.cumsum(-1)
    drawn = uniform.to(cumulative.dtype) * cumulative[:, -1]
    # Drawn is below the total but for rounding.
    return (cumulative <= drawn[:, None]).sum(-1).clamp(max=logits.shape[1] - 1)


def nucleus(probs: Float[Tensor, "... N"], top_p: float) -> Float[Tensor, "... N"]:
    """``probs`` with 0 for every class but the fewest likeliest that have at least ``top_p`` together."""
    ordered, index = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return torch.zeros_like(probs).scatter(-1, index, ordered.masked_fill(before >= top_p, 0.0))
