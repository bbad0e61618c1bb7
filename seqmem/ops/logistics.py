"""Discretised mixtures of logistics (Salimans et al. 2017, arXiv 1701.05517, section 2.1) over levels of a sample.

Level q of V has the value ``v = 2 q / (V - 1) - 1`` and, under a logistic with mean m and scale s, the probability
``sigma((v + h - m) / s) - sigma((v - h - m) / s)``, ``h = 1 / (V - 1)``; the lowest and the highest level have all that
lies beyond them as well. Parameters are ``[..., 3 * M]``: logits of M logistics, their means, their log-scales.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.ops.choice import choose

LOG_SCALES = (-14.0, 7.0)
"""Log-scales are clamped to this range, whose ends are far below a level of 16 bits and far above full scale."""


def value(levels: Int[Tensor, "..."], num_levels: int, dtype: torch.dtype) -> Float[Tensor, "..."]:
    """What levels stand for, -1 ... 1."""
    return levels.to(dtype) * (2 / (num_levels - 1)) - 1


def log_prob(parameters: Float[Tensor, "... 3M"], levels: Int[Tensor, "..."], num_levels: int) -> Float[Tensor, "..."]:
    """Natural logarithm of the levels' probabilities, finite however small these are.

    By ``sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - exp(a - b))``, a sum of three logarithms without cancellation.
    """
    logits, means, log_scales = split(parameters)
    half = 1 / (num_levels - 1)
    distance = value(levels, num_levels, parameters.dtype)[..., None] - means
    inverse = torch.exp(-log_scales)
    below_upper = F.logsigmoid((distance + half) * inverse)
    above_lower = F.logsigmoid((half - distance) * inverse)
    inside = below_upper + above_lower + torch.log(-torch.expm1(-2 * half * inverse))
    levels = levels[..., None]
    inside = torch.where(levels == 0, below_upper, torch.where(levels == num_levels - 1, above_lower, inside))
    return torch.logsumexp(logits.log_softmax(-1) + inside, -1)


def draw(
    parameters: Float[Tensor, "B 3M"],
    num_levels: int,
    uniform: Float[Tensor, "B 2"],
    temperature: float,
    top_p: float,
) -> Int[Tensor, "B"]:
    """Choose a logistic, by the first number, and a value of it, by the second, rounded to the nearest level.

    Temperature divides the logistics' logits and multiplies their scales; top_p cuts the choice among logistics. At
    temperature 0 it is the mean of the likeliest logistic.
    """
    logits, means, log_scales = split(parameters)
    chosen = choose(logits, uniform[:, 0], temperature, top_p)[:, None]
    mean, scale = means.gather(1, chosen)[:, 0], log_scales.gather(1, chosen)[:, 0].exp()
    drawn = mean + temperature * scale * torch.logit(uniform[:, 1].to(scale.dtype))
    return ((drawn + 1) * ((num_levels - 1) / 2) + 0.5).floor().clamp(0, num_levels - 1).long()


def split(parameters: Float[Tensor, "... 3M"]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, means and clamped log-scales, each ``[..., M]``."""
    logits, means, log_scales = parameters.chunk(3, -1)
    return logits, means, log_scales.clamp(*LOG_SCALES)
