"""Mutual information between neighbouring segments of a text as a regulariser (BMI; Cao and Xu 2020).

A row of a batch is cut into segments, each read from an empty memory, so that nothing of one leaks into the vector of
the next. In the first phase a critic T learns, jointly with the model, which segment follows which: its loss bounds the
mutual information of neighbours from below (Jensen-Shannon). In the second phase the model learns, besides, what could
have followed a segment: segments around the one that did, each as much as the critic believes in it.

Segments stand in for the paper's sentences. What it leaves open is settled so: a segment is no candidate to follow
itself, candidates come from the same row of the batch, and the critic is trained by the run's own optimizer and goes on
learning in the second phase. Rows that are filled up at a document's end are left out; a step with fewer than two
others has no such losses.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.config import BMIConfig, TrainConfig
from seqmem.errors import SeqmemError
from seqmem.layers.critic import Critic
from seqmem.models.base import CausalModel
from seqmem.train.pooled import pooled, pooled_width


def check_fits(training: TrainConfig, row_len: int) -> None:
    """Refuse rows without neighbours, or without other rows to tell them from.

    Raises:
        SeqmemError: ``training.batch_size`` is 1, or two segments are longer than ``row_len`` tokens.
    """
    length = training.bmi.segment_len
    if training.bmi.is_on and training.batch_size == 1:
        raise SeqmemError("train.bmi tells a row's segments from another's; set train.batch_size to 2 or more")
    if training.bmi.is_on and 2 * length > row_len:
        raise SeqmemError(
            f"train.bmi.segment_len = {length}: two of them do not fit a row of {row_len} tokens; lower it"
        )


class MutualInformation:
    """The two losses, and the critic, which is trained with the model and of no use without it.

    Args:
        config: the recipe's section.
        model: whose layers the critic looks at; what they are is :meth:`seqmem.models.base.CausalModel.stack`'s to say.
    """

    def __init__(self, config: BMIConfig, model: CausalModel):
        like = next(model.parameters())
        self.critic = Critic(pooled_width(model), config.hidden, device=like.device, dtype=like.dtype)
        self._config = config

    def losses(self, model: CausalModel, inputs: Int[Tensor, "B T"], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to a step's loss, and its parts as they are before they are weighted.

        Args:
            inputs: what the step reads; tokens after the last whole segment are left out.
            step: of the run, from 1.
        """
        c = self._config
        num_segments = inputs.shape[1] // c.segment_len
        segments = inputs[:, : num_segments * c.segment_len].unflatten(1, (num_segments, c.segment_len))
        vectors = pooled(model, segments.flatten(0, 1)).unflatten(0, segments.shape[:2])
        parts = {"bmi/discrimination": self.discrimination(vectors)}
        total = c.weight * parts["bmi/discrimination"]
        if c.likelihood_weight and step > c.after:
            parts["bmi/likelihood"] = self._likelihood(model, segments, vectors.detach())
            total = total + c.likelihood_weight * parts["bmi/likelihood"]
        return total, parts

    def discrimination(self, vectors: Float[Tensor, "B n d"]) -> Float[Tensor, ""]:
        """``softplus(-T(x, y)) + softplus(T(x, y'))``, the mean over neighbours; y' is y's place in another row.

        A critic that knows nothing has 2 log 2.
        """
        x, y = vectors[:, :-1], vectors[:, 1:]
        follows, strays = self._score(x, y), self._score(x, y.roll(1, 0))
        return (F.softplus(-follows) + F.softplus(strays)).mean()

    def _score(self, x: Float[Tensor, "... d"], y: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
        """T, in the vectors' own precision."""
        with torch.autocast(x.device.type, enabled=False):
            return self.critic(x, y)

    def _likelihood(
        self, model: CausalModel, segments: Int[Tensor, "B n L"], vectors: Float[Tensor, "B n d"]
    ) -> Float[Tensor, ""]:
        """The cost of candidates after one segment of each row, as much as each weighs; the mean over rows."""
        rows = torch.arange(len(segments), device=segments.device)[:, None]
        x = torch.randint(segments.shape[1] - 1, (len(segments), 1))
        proposal = proposals(x[:, 0], segments.shape[1], self._config.geometric)
        chosen = proposal.multinomial(self._config.candidates, replacement=True)
        log_proposal = proposal.gather(1, chosen).log().to(vectors)
        x, chosen = x.to(rows), chosen.to(rows)
        weights = self.weights(vectors[rows, x], vectors[rows, x + 1], vectors[rows, chosen], log_proposal)
        begun = segments[rows, x].expand(-1, chosen.shape[1], -1)
        return (weights * continuation_loss(model, begun, segments[rows, chosen])).sum(1).mean()

    @torch.no_grad()
    def weights(
        self,
        x: Float[Tensor, "B 1 d"],
        y: Float[Tensor, "B 1 d"],
        candidates: Float[Tensor, "B k d"],
        log_proposal: Float[Tensor, "B k"],
    ) -> Float[Tensor, "B k"]:
        """``exp((T(x, y') - T(x, y)) / temperature) / p(y')``, of every row's candidates normalised to a sum of 1."""
        gain = self._score(x.expand_as(candidates), candidates) - self._score(x, y)
        return (gain / self._config.temperature - log_proposal).softmax(1)


def proposals(x: Int[Tensor, "B"], num_segments: int, geometric: float) -> Float[Tensor, "B n"]:
    """How likely each segment of a row is a candidate to follow segment ``x``; float64, on the CPU.

    ``p (1 - p)^k`` at k segments from the true one, ``x + 1``; 0 for ``x`` itself.
    """
    places = torch.arange(num_segments)
    distance = (places - x[:, None] - 1).abs()
    likely = geometric * (1 - geometric) ** distance.double()
    likely = likely.masked_fill(places == x[:, None], 0)
    return likely / likely.sum(1, keepdim=True)


def continuation_loss(model: CausalModel, x: Int[Tensor, "B k L"], y: Int[Tensor, "B k L"]) -> Float[Tensor, "B k"]:
    """Mean nats of a token of ``y`` after ``x``, which is read from an empty memory."""
    texts = torch.cat([x, y], -1).flatten(0, 1)
    length = x.shape[-1]
    hidden = model(texts, model.init_state(len(texts))).hidden
    return model.head.nll(hidden[:, length - 1 : -1], texts[:, length:]).mean(-1).unflatten(0, x.shape[:2])
