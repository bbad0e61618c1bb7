"""The objective of causal models: the next token, memory carried from step to step."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqmem.config import AtDocumentEnd, EvalConfig, Recipe, TrainConfig
from seqmem.data.documents import Documents, Laid
from seqmem.data.stream import Segment, TokenStream
from seqmem.data.tokens import Tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.data.word_frequency import WordCounts
from seqmem.models import MODELS
from seqmem.models.base import CausalModel, ModelConfig
from seqmem.state import State
from seqmem.train.evaluate import at_eval_lengths, evaluate
from seqmem.train.evaluation import Evaluation
from seqmem.train.objective import Batch, Objective
from seqmem.train.sample import leave_sample


class NextToken(Objective[CausalModel]):
    """Batches are :class:`seqmem.data.stream.Segment`, contiguous segments of B streams.

    Args:
        at_document_end: whether memory is carried into the next document, or each begins with an empty one.
    """

    models = MODELS
    rows = "streams"

    def __init__(self, at_document_end: AtDocumentEnd = "carry"):
        self._at_document_end = at_document_end

    def row_len(self, config: ModelConfig) -> int:
        return config.unroll_len

    def batches(
        self, tokens: Tokens, vocabulary: Vocabulary, config: ModelConfig, training: TrainConfig
    ) -> TokenStream:
        return self.stream(Documents.of(tokens, "train", vocabulary), config, training.batch_size)

    def stream(self, documents: Documents, config: ModelConfig, batch_size: int) -> TokenStream:
        """Batches of documents."""
        multiple = math.lcm(config.unroll_len, config.period) if self._at_document_end == "reset" else 1
        return TokenStream(Laid(documents, multiple), batch_size, config.unroll_len)

    def about(self, batches: TokenStream) -> dict[str, str]:
        if self._at_document_end == "carry":
            return {"streams": f"{batches.batch_size}, memory carried from document to document"}
        filling = f"{batches.filling:.2%} of what is read is filling"
        return {"streams": f"{batches.batch_size}, memory emptied at each document's beginning; {filling}"}

    def example(self, config: ModelConfig, batch_size: int) -> Batch:
        tokens = torch.zeros(batch_size, config.unroll_len, dtype=torch.long)
        return Segment(tokens, tokens, tokens == 0, tokens[:, 0] == 0)

    def init_state(self, model: CausalModel, batch_size: int) -> State:
        return model.init_state(batch_size)

    def losses(self, model: CausalModel, batch: Batch, state: State) -> tuple[dict[str, Tensor], State]:
        inputs, targets, scored, begins = batch
        if self._at_document_end == "reset":
            state = model.renew(state, begins)
        out = model(inputs, state)
        nll = model.head.nll(out.hidden, targets)
        losses = {"loss": nll.where(scored, 0).sum() / scored.sum().clamp(min=1)}
        return losses | {f"auxiliary/{name}": loss for name, loss in out.losses.items()}, out.state

    def texts(self, batch: Batch) -> Tensor:
        inputs, _, scored, _ = batch
        return inputs[scored.all(1)]

    def units(self, tokens: Tokens, vocabulary: Vocabulary) -> dict[str, float]:
        return {vocabulary.unit: tokens.tokens_per_unit("train")}

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
    ) -> Evaluation:
        return evaluate(
            at_eval_lengths(model, config),
            Documents.of(tokens, split, vocabulary),
            vocabulary,
            at_document_end=config.at_document_end or self._at_document_end,
            batch_size=config.batch_size,
            windows=windows,
            words=words,
            text=text,
        )

    def conclude(self, model: CausalModel, vocabulary: Vocabulary, recipe: Recipe, run_dir: Path) -> str:
        return leave_sample(model, vocabulary, recipe, run_dir)


NEXT_TOKEN: Objective[Any] = NextToken()
