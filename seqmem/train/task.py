"""The objective of tasks: an encoder learns to answer about long documents, global attention on what asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.config import EvalConfig, Recipe, TaskConfig, TrainConfig
from seqmem.data.tasks import Example, Examples, TaskBatches
from seqmem.data.tokens import Tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.data.word_frequency import WordCounts
from seqmem.errors import SeqmemError
from seqmem.layers.task_heads import ClassificationHead, SpanHead
from seqmem.models import ENCODERS
from seqmem.models.encoder import Encoder, EncoderConfig
from seqmem.models.model import Model
from seqmem.models.reader import Reader
from seqmem.ops import Ops
from seqmem.state import State
from seqmem.train.encoding import EncoderObjective, measuring, refuse_segments, tokenizer_of
from seqmem.train.evaluation import Measurement
from seqmem.train.objective import Batch

NUM_CLASSES = 2
NUM_HELD_OUT = 400
NUM_RANGES = 3  # of lengths that are reported apart
LONGEST_ANSWER = 8


class Task(EncoderObjective[Reader]):
    """Batches are :data:`seqmem.data.tasks.TaskBatch`."""

    def __init__(self, task: TaskConfig):
        self._task = task
        self._is_span = task.kind == "question-answering"

    def model_config(self, recipe: Recipe, vocab_size: int | None = None) -> Any:
        config = super().model_config(recipe, vocab_size)
        longest, most = self._task.lengths[1], config.max_len
        if longest > most:
            raise SeqmemError(f"task.lengths end at {longest}, above the model's max_len = {most}; lower that")
        return config

    def build(self, config: EncoderConfig, ops: Ops) -> Reader:
        encoder: Encoder = ENCODERS.build(config, ops)
        width = config.d_model
        return Reader(encoder, SpanHead(width) if self._is_span else ClassificationHead(width, NUM_CLASSES))

    def adopt(self, model: Reader, trained: Model) -> None:
        """Take the encoder of ``trained``, whatever that was trained for."""
        model.encoder.load_state_dict((trained.encoder if isinstance(trained, Reader) else trained).state_dict())

    def row_len(self, config: EncoderConfig) -> int:
        return self._task.lengths[1]

    def batches(
        self, tokens: Tokens, vocabulary: Vocabulary, config: EncoderConfig, training: TrainConfig
    ) -> TaskBatches:
        return TaskBatches(self._examples(tokens, vocabulary, "train"), training.batch_size, training.seed)

    def _examples(self, tokens: Tokens, vocabulary: Vocabulary, split: str) -> Examples:
        return Examples(self._task, tokens.splits[split], tokenizer_of(vocabulary), f"the {split} split")

    def sized(self) -> Self:
        """Without global tokens, whose number depends on the data."""
        return type(self)(self._task.model_copy(update={"global_tokens": False}))

    def example(self, config: EncoderConfig, batch_size: int) -> Batch:
        inputs = torch.zeros(batch_size, self.row_len(config), dtype=torch.long)
        mask = torch.ones_like(inputs, dtype=torch.bool)
        return inputs, mask, mask, mask, torch.zeros(batch_size, 1 + self._is_span, dtype=torch.long)

    def losses(self, model: Reader, batch: Batch, state: State) -> tuple[dict[str, Tensor], State]:
        *_, targets = batch
        return {"loss": F.cross_entropy(self._logits(model, batch), targets)}, state

    def _logits(self, model: Reader, batch: Batch) -> Float[Tensor, "B C k"]:
        """Logits of classes, or of places in the document, for each of the k targets."""
        inputs, valid, asking, in_document, _ = batch
        out = model(inputs, valid, asking if self._task.global_tokens else None, in_document.long())
        out = out if out.dtype == torch.float64 else out.float()
        return out.masked_fill(~in_document[..., None], -torch.inf) if self._is_span else out[..., None]

    def evaluate(
        self,
        model: Reader,
        tokens: Tokens,
        vocabulary: Vocabulary,
        split: str,
        config: EvalConfig,
        text: str,
        windows: tuple[int, int] | None = None,
        words: WordCounts | None = None,
    ) -> TaskEvaluation:
        """Examples are the same whenever a split is measured."""
        refuse_segments(config, windows)
        made = self._examples(tokens, vocabulary, split)
        examples = [made.draw(number) for number in range(NUM_HELD_OUT)]
        answers: list[tuple[int, ...]] = []
        with measuring(model) as device:
            for first in range(0, NUM_HELD_OUT, config.batch_size):
                batch = made.batch(examples[first : first + config.batch_size])
                logits = self._logits(model, tuple(tensor.to(device) for tensor in batch))
                told = best_span(logits) if self._is_span else logits.argmax(1)
                answers += map(tuple, told.tolist())
        score = span_scores if self._is_span else class_scores
        scores = [score(answer, example.target) for answer, example in zip(answers, examples, strict=True)]
        return TaskEvaluation(
            text=text,
            num_examples=NUM_HELD_OUT,
            scores=_mean(scores),
            by_length=self._by_length(examples, scores),
            task=self._task.model_dump(mode="json"),
            tokenizer_hash=vocabulary.hash,
        )

    def _by_length(self, examples: list[Example], scores: list[dict[str, float]]) -> dict[str, dict[str, float]]:
        """Means over ranges of lengths, equally wide, in tokens of a row."""
        shortest, longest = self._task.lengths
        borders = [shortest + (longest + 1 - shortest) * number // NUM_RANGES for number in range(NUM_RANGES + 1)]
        chosen = {
            f"{low}-{high - 1}": [
                score
                for example, score in zip(examples, scores, strict=True)
                if max(shortest, len(example.ids)) in range(low, high)
            ]
            for low, high in pairwise(borders)
        }
        return {name: _mean(found) for name, found in chosen.items() if found}


def best_span(logits: Float[Tensor, "B T 2"]) -> Int[Tensor, "B 2"]:
    """First and last place of the likeliest span of at most :data:`LONGEST_ANSWER` tokens."""
    length = logits.shape[1]
    scores = logits[:, :, None, 0] + logits[:, None, :, 1]
    possible = scores.new_ones(length, length, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
    place = scores.masked_fill(~possible, -torch.inf).flatten(1).argmax(1)
    return torch.stack([place // length, place % length], 1)


def class_scores(answer: tuple[int, ...], target: tuple[int, ...]) -> dict[str, float]:
    """Whether the class is right."""
    return {"accuracy": float(answer == target)}


def span_scores(answer: tuple[int, ...], target: tuple[int, ...]) -> dict[str, float]:
    """Whether the span is the same, and the harmonic mean of its precision and recall in tokens."""
    (first, last), (begin, end) = answer, target
    shared = max(0, min(last, end) - max(first, begin) + 1)
    return {"exact_match": float(answer == target), "f1": 2 * shared / (last - first + end - begin + 2)}


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(score[name] for score in scores) / len(scores) for name in scores[0]}


@dataclass(frozen=True, kw_only=True)
class TaskEvaluation(Measurement):
    """How well questions were answered.

    Attributes:
        num_examples: how many there were.
        scores: means over all of them, by name.
        by_length: means over ranges of tokens, ``{"64-122": {"accuracy": 0.9}}``.
        task: what was asked.
        tokenizer_hash: of the tokenizer's model.
    """

    num_examples: int
    scores: Mapping[str, float]
    by_length: Mapping[str, Mapping[str, float]]
    task: dict[str, Any]
    tokenizer_hash: str

    def measures(self) -> dict[str, float | None]:
        return dict(self.scores)

    def summary(self) -> str:
        return _told(self.scores)

    def rows(self) -> dict[str, str]:
        sees = "global attention on what asks" if self.task["global_tokens"] else "windows alone"
        return {
            "text": self.text,
            "task": f"{self.task['kind']}, {self.num_examples} examples, always the same; {sees}",
            **{name.replace("_", " "): f"{value:.1%}" for name, value in self.scores.items()},
            **{f"  {lengths} tokens": _told(scores) for lengths, scores in self.by_length.items()},
            "tokenizer": self.tokenizer_hash,
        }

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        del record["scores"]
        return {**self.measures(), **record}


def _told(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in scores.items())
