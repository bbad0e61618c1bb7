"""Discretised mixtures of logistics as a head: thousands of levels of a sample for the price of a few numbers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.head import ALL, Head, Sampler
from seqmem.ops import logistics
from seqmem.ops.autocast import suspended
from seqmem.ops.backend import accumulation_dtype

LOG_SCALE = -3.0
VALUE_STD = 1.0
BIAS_STD = 0.1


class LogisticMixture(Head):
    """A linear map to a mixture over levels; see :mod:`seqmem.ops.logistics`.

    Sampling reads a temperature and top_p as that module's ``draw`` does. Tokens have no phases here.

    Args:
        vocab_size: V, the number of levels.
        num_logistics: M.
    """

    def __init__(self, vocab_size: int, d_model: int, num_logistics: int):
        super().__init__()
        self.vocab_size = vocab_size
        self.weight = nn.Parameter(torch.empty(3 * num_logistics, d_model))
        self.bias = nn.Parameter(torch.empty(3 * num_logistics))

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std); biases such that the means spread over half the range, with a scale of exp(-3)."""
        nn.init.normal_(self.weight, 0, std)
        logits, means, log_scales = self.bias.data.chunk(3)
        logits.zero_()
        means.copy_((torch.arange(len(means)) + 0.5) / len(means) - 0.5)
        log_scales.fill_(LOG_SCALE)

    def mixture(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... 3M"]:
        """Parameters of the mixture, float32 (float64 for float64); autocast would merge neighbouring levels."""
        with suspended(hidden):
            return F.linear(hidden.to(self.weight.dtype), self.weight, self.bias).to(accumulation_dtype(hidden.dtype))

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        return -logistics.log_prob(self.mixture(hidden), targets, self.vocab_size)

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Log-probabilities of every level: large, meant for a few positions."""
        levels = torch.arange(self.vocab_size, device=hidden.device)
        return logistics.log_prob(self.mixture(hidden)[..., None, :], levels, self.vocab_size)

    def sample(self, hidden: Float[Tensor, "B d"], sampler: Sampler, ids: slice = ALL) -> Int[Tensor, "B"]:
        uniform = sampler.uniform(len(hidden), device=hidden.device)
        return logistics.draw(self.mixture(hidden), self.vocab_size, uniform, sampler.temperature, sampler.top_p)

    def log_prob(self, hidden: Float[Tensor, "B d"], tokens: Int[Tensor, "B"], ids: slice = ALL) -> Float[Tensor, "B"]:
        return -self.nll(hidden, tokens)


class EmbeddingLogisticMixture(LogisticMixture):
    """With an embedding: a linear map of the level's value.

    The map has a bias, or else a layer norm would take the magnitude away.
    """

    def __init__(self, vocab_size: int, d_model: int, num_logistics: int):
        super().__init__(vocab_size, d_model, num_logistics)
        self.value_weight = nn.Parameter(torch.empty(d_model))
        self.value_bias = nn.Parameter(torch.empty(d_model))

    def reset_parameters(self, std: float) -> None:
        super().reset_parameters(std)
        nn.init.normal_(self.value_weight, 0, VALUE_STD)
        nn.init.normal_(self.value_bias, 0, BIAS_STD)

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        values = logistics.value(tokens, self.vocab_size, self.value_weight.dtype)
        return values[..., None] * self.value_weight + self.value_bias
