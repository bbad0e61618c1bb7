"""The objective of recall: causal models learn to say, at the end of a long text, what stood somewhere in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from seqmem.config import EvalConfig, RecallConfig, Recipe, TrainConfig
from seqmem.data.puzzles import KINDS
from seqmem.data.recall import RecallBatches, Sequences
from seqmem.data.tokens import Tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.data.word_frequency import WordCounts
from seqmem.errors import SeqmemError
from seqmem.models import MODELS
from seqmem.models.base import CausalModel, ModelConfig
from seqmem.state import State
from seqmem.train.encoding import measuring
from seqmem.train.evaluate import at_eval_lengths
from seqmem.train.evaluation import Measurement
from seqmem.train.objective import Batch, Objective


class Recall(Objective[CausalModel]):
    """Batches are :data:`seqmem.data.recall.RecallBatch`; the loss is the mean over all tokens of answers.

    A sequence is one call, however many segments the model makes of it: what answers lose reaches all that memory took
    in, but where the model itself detaches its memory. Nothing is carried from sequence to sequence.
    """

    models = MODELS
    rows = "sequences"

    def __init__(self, recall: RecallConfig):
        most = KINDS[recall.task].most
        if most is not None and recall.keys > most:
            raise SeqmemError(f"recall.keys = {recall.keys}: task '{recall.task}' has {most}; give at most as many")
        self._recall = recall

    def row_len(self, config: ModelConfig) -> int:
        return self._recall.lengths[1]

    def batches(
        self, tokens: Tokens, vocabulary: Vocabulary, config: ModelConfig, training: TrainConfig
    ) -> RecallBatches:
        return RecallBatches(self._recall, self._sequences(tokens, "train"), training.batch_size, training.seed)

    def _sequences(self, tokens: Tokens, split: str) -> Sequences:
        return Sequences(self._recall.task, tokens.splits[split], f"the {split} split")

    def example(self, config: ModelConfig, batch_size: int) -> Batch:
        tokens = torch.zeros(batch_size, self.row_len(config), dtype=torch.long)
        places = torch.arange(tokens.numel())
        return tokens, tokens, *places.chunk(2)  # answers are half of what is read, at most

    def losses(self, model: CausalModel, batch: Batch, state: State) -> tuple[dict[str, Tensor], State]:
        inputs, targets, answers, others = batch
        out = model(inputs)
        hidden, targets = out.hidden.flatten(0, 1), targets.flatten()
        losses = {"loss": model.head.nll(hidden[answers], targets[answers]).mean()}
        if self._recall.rest:
            losses["auxiliary/rest"] = self._recall.rest * model.head.nll(hidden[others], targets[others]).mean()
        return losses | {f"auxiliary/{name}": loss for name, loss in out.losses.items()}, state

    def units(self, tokens: Tokens, vocabulary: Vocabulary) -> dict[str, float]:
        return {"token": 1.0}

    def validate(
        self, model: CausalModel, tokens: Tokens, vocabulary: Vocabulary, config: EvalConfig
    ) -> RecallEvaluation:
        """The longest sequences of training, facts at their beginning."""
        longest = self._recall.model_copy(update={"eval_lengths": self._recall.lengths[1:], "depths": (0.0,)})
        return type(self)(longest).evaluate(model, tokens, vocabulary, "validation", config, "validation split")

    def evaluate(
        self,
        model: CausalModel,
        tokens: Tokens,
        vocabulary: Vocabulary,
        split: str,
        config: EvalConfig,
        text: str,
        windows: tuple[int, int] | None = None,
        words: WordCounts | None = None,
    ) -> RecallEvaluation:
        """Sequences are the same whenever a split is measured; they are read segment by segment, memory carried."""
        if windows:
            raise SeqmemError("overlapping windows: recall is measured with what memory carries; leave them out")
        if config.at_document_end:
            raise SeqmemError("eval.at_document_end: sequences of recall share nothing as it is; leave it out")
        recall, sequences = self._recall, self._sequences(tokens, split)
        model = at_eval_lengths(model, config)
        shares = []
        for length in recall.eval_lengths:
            grid = [(depth, number) for depth in recall.depths for number in range(recall.samples)]
            right: list[float] = []
            for first in range(0, len(grid), config.batch_size):
                rows = [
                    sequences.draw(recall.keys, length, depth, number)
                    for depth, number in grid[first : first + config.batch_size]
                ]
                right += answered_right(model, *map(np.stack, zip(*rows, strict=True)))
            shares.append(np.reshape(right, (len(recall.depths), -1)).mean(1).tolist())
        return RecallEvaluation(
            text=text,
            accuracies=shares,
            eval_lengths=recall.eval_lengths,
            depths=recall.depths,
            samples=recall.samples,
            chance=KINDS[recall.task].chance,
            task=recall.task,
            keys=recall.keys,
            context=f"segments of {model.config.segment_len} bytes, {model.config.memory_note} carried",
        )

    def conclude(self, model: CausalModel, vocabulary: Vocabulary, recipe: Recipe, run_dir: Path) -> str:
        return f"\nNext: seqmem eval {run_dir}\n      seqmem plot {run_dir}"


def answered_right(model: CausalModel, ids: np.ndarray, numbers: np.ndarray) -> list[float]:
    """The share of right answers of each sequence; an answer is right if all its tokens are the likeliest.

    That is what greedy generation would answer to a question, the answers before it being right ones. One segment is in
    memory at a time, and the state.

    Args:
        ids: ``[B, T]`` bytes.
        numbers: ``[B, T]`` of the answer that each belongs to, or -1.
    """
    wrong = np.zeros((len(ids), numbers.max() + 1), dtype=bool)
    with measuring(model) as device:
        state = model.init_state(len(ids))
        for start in range(0, ids.shape[1] - 1, model.config.segment_len):
            inputs, targets, of = (
                torch.from_numpy(part[:, start + shift : start + shift + model.config.segment_len])
                for part, shift in ((ids[:, :-1], 0), (ids, 1), (numbers, 1))
            )
            out = model(inputs.to(device), state)
            state = out.state
            rows, places = torch.where(of >= 0)
            if len(rows):
                told = model.head.logits(out.hidden[rows, places]).argmax(-1).cpu()
                missed = told != targets[rows, places]
                wrong[rows[missed], of[rows, places][missed]] = True
    return (1 - wrong.mean(1)).tolist()


@dataclass(frozen=True, kw_only=True)
class RecallEvaluation(Measurement):
    """How many answers were right, by length and depth.

    Attributes:
        accuracies: shares of right answers, a list of depths for each length.
        eval_lengths: bytes of a sequence.
        depths: where the facts stood, 0 at the beginning, 1 before the questions.
        samples: sequences of each length and depth.
        chance: the share of right answers without having read the facts.
        task, keys: as the recipe's section has them.
        context: what could be seen, in words.
    """

    file: ClassVar[str] = "recall.json"

    accuracies: Sequence[Sequence[float]]
    eval_lengths: Sequence[int]
    depths: Sequence[float]
    samples: int
    chance: float
    task: str
    keys: int
    context: str

    def measures(self) -> dict[str, float | None]:
        return {"accuracy": float(np.mean(self.accuracies))}

    def summary(self) -> str:
        return f"{np.mean(self.accuracies):.1%} right, {self.chance:.1%} by chance"

    def rows(self) -> dict[str, str]:
        asked = f"{self.task}, {self.keys} key{'s' * (self.keys > 1)}"
        by_length = zip(self.eval_lengths, self.accuracies, strict=True)
        return {
            "text": self.text,
            "task": f"{asked}; {self.samples} of each length and depth, always the same",
            "accuracy": self.summary(),
            "context": self.context,
            "facts at": "".join(f"{depth:>8.0%}" for depth in self.depths),
            **{f"  {length:,} bytes": "".join(f"{share:>8.1%}" for share in shares) for length, shares in by_length},
        }
