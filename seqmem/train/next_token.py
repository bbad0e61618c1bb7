"""The objective of causal models: the next token, memory carried from step to step."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqmem.config import EvalConfig, Recipe, TrainConfig
from seqmem.data.stream import TokenStream
from seqmem.data.tokens import Tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.models import MODELS
from seqmem.models.base import CausalModel, ModelConfig
from seqmem.state import State
from seqmem.train.evaluate import at_eval_lengths, evaluate
from seqmem.train.evaluation import Evaluation
from seqmem.train.objective import Batch, Objective
from seqmem.train.sample import leave_sample


class NextToken(Objective[CausalModel]):
    """Batches are inputs and targets ``[B, T]``, contiguous segments of B streams."""

    models = MODELS
    rows = "streams"

    def row_len(self, config: ModelConfig) -> int:
        return config.unroll_len

    def batches(
        self, tokens: Tokens, vocabulary: Vocabulary, config: ModelConfig, training: TrainConfig
    ) -> TokenStream:
        return TokenStream(tokens.splits["train"], training.batch_size, config.unroll_len)

    def example(self, config: ModelConfig, batch_size: int) -> Batch:
        tokens = torch.zeros(batch_size, config.unroll_len, dtype=torch.long)
        return tokens, tokens

    def init_state(self, model: CausalModel, batch_size: int) -> State:
        return model.init_state(batch_size)

    def losses(self, model: CausalModel, batch: Batch, state: State) -> tuple[dict[str, Tensor], State]:
        inputs, targets = batch
        out = model(inputs, state)
        losses = {"loss": model.head.nll(out.hidden, targets).mean()}
        return losses | {f"auxiliary/{name}": loss for name, loss in out.losses.items()}, out.state

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
    ) -> Evaluation:
        return evaluate(
            at_eval_lengths(model, config),
            tokens.splits[split],
            vocabulary,
            starts=tokens.starts.get(split),
            batch_size=config.batch_size,
            windows=windows,
            text=text,
        )

    def conclude(self, model: CausalModel, vocabulary: Vocabulary, recipe: Recipe, run_dir: Path) -> str:
        return leave_sample(model, vocabulary, recipe, run_dir)


NEXT_TOKEN: Objective[Any] = NextToken()
