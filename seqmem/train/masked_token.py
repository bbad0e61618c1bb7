"""The objective of masked language models: hidden tokens, told from both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqmem.config import EvalConfig, MaskingConfig, Recipe, TrainConfig
from seqmem.data.masking import MaskedBatches, Masking
from seqmem.data.segments import Segments
from seqmem.data.shuffle import generator
from seqmem.data.tokens import Tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.data.word_frequency import WordCounts
from seqmem.errors import SeqmemError
from seqmem.models.encoder import Encoder, EncoderConfig
from seqmem.state import State
from seqmem.train.encoding import EncoderObjective, measuring, refuse_segments, tokenizer_of
from seqmem.train.evaluation import Measurement
from seqmem.train.objective import Batch


class MaskedToken(EncoderObjective[Encoder]):
    """Batches are :data:`seqmem.data.masking.MaskedBatch`; the loss is the mean over all tokens picked in a batch."""

    def __init__(self, masking: MaskingConfig):
        self._masking = masking

    def model_config(self, recipe: Recipe, vocab_size: int | None = None) -> Any:
        config = super().model_config(recipe, vocab_size)
        length, most = self.row_len(config), config.max_len
        if length > most:
            raise SeqmemError(f"masking.segment_len = {length} is above the model's max_len = {most}; lower it")
        return config

    def row_len(self, config: EncoderConfig) -> int:
        return self._masking.segment_len or config.max_len

    def batches(
        self, tokens: Tokens, vocabulary: Vocabulary, config: EncoderConfig, training: TrainConfig
    ) -> MaskedBatches:
        masking = Masking(self._masking, tokenizer_of(vocabulary))
        return MaskedBatches(
            self._segments(tokens, vocabulary, "train", config), masking, training.batch_size, training.seed
        )

    def _segments(self, tokens: Tokens, vocabulary: Vocabulary, split: str, config: EncoderConfig) -> Segments:
        length = self.row_len(config) - 2  # besides CLS and SEP
        return Segments(tokens.splits[split], vocabulary.bos_ids[0], length, f"the {split} split")

    def example(self, config: EncoderConfig, batch_size: int) -> Batch:
        inputs = torch.zeros(batch_size, self.row_len(config), dtype=torch.long)
        places = torch.zeros(math.ceil(inputs.numel() * self._masking.probability), dtype=torch.long)
        return inputs, torch.ones_like(inputs, dtype=torch.bool), places, places

    def losses(self, model: Encoder, batch: Batch, state: State) -> tuple[dict[str, Tensor], State]:
        inputs, valid, places, targets = batch
        return {"loss": model.head.nll(_hidden_at(model, inputs, valid, places), targets).mean()}, state

    def units(self, tokens: Tokens, vocabulary: Vocabulary) -> dict[str, float]:
        return {"token": 1.0}

    def evaluate(
        self,
        model: Encoder,
        tokens: Tokens,
        vocabulary: Vocabulary,
        split: str,
        config: EvalConfig,
        text: str,
        windows: tuple[int, int] | None = None,
        words: WordCounts | None = None,
    ) -> MaskedEvaluation:
        """Masks are the same whenever a split is measured, by whatever run and in batches of whatever size."""
        refuse_segments(config, windows)
        masking = Masking(self._masking, tokenizer_of(vocabulary))
        segments = self._segments(tokens, vocabulary, split, model.config)
        total_nats, num_scored, num_correct = 0.0, 0, 0
        with measuring(model) as device:
            for first in range(0, len(segments), config.batch_size):
                numbers = range(first, min(first + config.batch_size, len(segments)))
                batch = masking.batch([segments[number] for number in numbers], [generator(n) for n in numbers])
                inputs, valid, places, targets = (tensor.to(device) for tensor in batch)
                hidden = _hidden_at(model, inputs, valid, places)
                total_nats += model.head.nll(hidden, targets).double().sum().item()
                num_correct += int((model.head.logits(hidden).argmax(-1) == targets).sum())
                num_scored += len(targets)
        return MaskedEvaluation(
            text=text,
            total_nats=total_nats,
            num_scored=num_scored,
            num_correct=num_correct,
            segment_len=self.row_len(model.config),
            masking=self._masking.model_dump(include={"probability", "whole_words"}),
            tokenizer_hash=vocabulary.hash,
        )


def _hidden_at(model: Encoder, inputs: Tensor, valid: Tensor, places: Tensor) -> Tensor:
    """Hidden states ``[N, d]`` at ``places [N]`` of the rows laid end to end."""
    return model(inputs, valid).flatten(0, 1)[places]


@dataclass(frozen=True, kw_only=True)
class MaskedEvaluation(Measurement):
    """How well hidden tokens were told.

    Attributes:
        total_nats: negative log-likelihood of all that were picked.
        num_scored: how many were picked.
        num_correct: how many were the likeliest.
        segment_len: tokens that were read at a time, at most.
        masking: how they were picked.
        tokenizer_hash: of the tokenizer's model.
    """

    total_nats: float
    num_scored: int
    num_correct: int
    segment_len: int
    masking: dict[str, Any]
    tokenizer_hash: str

    @property
    def bits_per_token(self) -> float:
        return self.total_nats / math.log(2) / self.num_scored

    @property
    def perplexity(self) -> float:
        """``exp(nats / token)`` of masked tokens; infinite beyond float64."""
        nats = self.total_nats / self.num_scored
        return math.exp(nats) if nats < 709 else math.inf

    @property
    def accuracy(self) -> float:
        return self.num_correct / self.num_scored

    def measures(self) -> dict[str, float | None]:
        return {
            "bits_per_token": self.bits_per_token,
            "perplexity": self.perplexity if math.isfinite(self.perplexity) else None,
            "accuracy": self.accuracy,
        }

    def summary(self) -> str:
        return (
            f"{self.bits_per_token:.4f} bits/masked token  perplexity {self.perplexity:.2f}  {self.accuracy:.1%} right"
        )

    def rows(self) -> dict[str, str]:
        picked = f"{self.masking['probability']:.0%} of the {'words' if self.masking['whole_words'] else 'tokens'}"
        return {
            "text": self.text,
            "bits/masked token": f"{self.bits_per_token:.4f} ({self.num_scored:,} tokens: {picked}, always the same)",
            "perplexity": f"{self.perplexity:.2f} of masked tokens",
            "accuracy": f"{self.accuracy:.1%} ({self.num_correct:,} of {self.num_scored:,})",
            "context": f"segments of up to {self.segment_len} tokens, each by itself",
            "tokenizer": self.tokenizer_hash,
        }
