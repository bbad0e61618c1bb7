"""The evaluation protocol: every token of a split once, in order, memory carried from its beginning to its end.

Memory use does not depend on the length of the split, whose tokens may be a mapped file.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqmem.config import DataConfig, EvalConfig
from seqmem.data.corpus import load_corpus
from seqmem.data.stream import evaluation_segments
from seqmem.data.text_size import text_size
from seqmem.data.tokenizer import Tokenizer
from seqmem.data.tokens import TokenizedCorpus
from seqmem.errors import SeqmemError
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.train.checkpoint import load, load_recipe_of, load_tokenizer, run_folder
from seqmem.train.device import default_device

LENGTHS = ("segment_len", "mem_len", "cmem_len")  # in tokens and slots; they change no weight


@dataclass(frozen=True)
class Evaluation:
    """A likelihood and everything needed to compare it with another.

    Attributes:
        text: what was measured.
        total_nats: negative log-likelihood of the whole text.
        num_tokens: scored tokens; a document's BOS is not scored.
        num_bytes: UTF-8 bytes of the text.
        num_words: whitespace words of the text.
        lengths: those of :data:`LENGTHS` that the model has.
        memory: what is carried from segment to segment, in words.
        num_streams: contiguous parts read side by side, each starting with empty memory.
        tokenizer_hash: of the tokenizer's model.
    """

    text: str
    total_nats: float
    num_tokens: int
    num_bytes: int
    num_words: int
    lengths: dict[str, Any]
    memory: str
    num_streams: int
    tokenizer_hash: str

    @property
    def nats_per_token(self) -> float:
        return self.total_nats / self.num_tokens

    @property
    def bits_per_byte(self) -> float:
        return self.total_nats / math.log(2) / self.num_bytes

    @property
    def word_perplexity(self) -> float:
        """``exp(total nats / whitespace words)``, which no tokenization changes; infinite beyond float64."""
        nats_per_word = self.total_nats / self.num_words
        return math.exp(nats_per_word) if nats_per_word < 709 else math.inf

    @property
    def context(self) -> str:
        """What the model could see, in words."""
        return (
            f"segments of {self.lengths['segment_len']} tokens, {self.memory} carried from segment to segment; "
            f"{self.num_streams} stream{'s' * (self.num_streams > 1)}"
        )

    def measures(self) -> dict[str, float | None]:
        """The three measures; an infinite perplexity, which JSON cannot say, is None."""
        perplexity = self.word_perplexity
        return {
            "nats_per_token": self.nats_per_token,
            "bits_per_byte": self.bits_per_byte,
            "word_perplexity": perplexity if math.isfinite(perplexity) else None,
        }

    def to_json(self) -> dict[str, Any]:
        """The measures, then what they were computed from, every length under its own name."""
        record = asdict(self)
        lengths = record.pop("lengths")
        return {**self.measures(), "context": self.context, **record, **lengths}

    def summary(self) -> str:
        """The measures in a line."""
        return (
            f"{self.nats_per_token:.4f} nats/token  {self.bits_per_byte:.4f} bits/byte  "
            f"word-level perplexity {self.word_perplexity:.2f}"
        )

    def table(self) -> str:
        """One line a measure, with its denominator."""
        rows = {
            "text": self.text,
            "nats/token": f"{self.nats_per_token:.4f} ({self.num_tokens:,} tokens)",
            "bits/byte": f"{self.bits_per_byte:.4f} ({self.num_bytes:,} bytes)",
            "word-level perplexity": f"{self.word_perplexity:.2f} (total nats / {self.num_words:,} whitespace words)",
            "context": self.context,
            "tokenizer": self.tokenizer_hash,
        }
        return "\n".join(f"{name:<23}{value}" for name, value in rows.items())


@torch.no_grad()
def evaluate(
    model: CausalModel, tokens: np.ndarray, tokenizer: Tokenizer, *, batch_size: int = 1, text: str = ""
) -> Evaluation:
    """Measure ``model`` on documents laid end to end.

    Args:
        model: in any mode; measured in eval mode, and put back.
        tokens: ``[N]`` ids, every document begun by BOS.
        tokenizer: gave the ids.
        batch_size: number of contiguous streams; more are faster, but each starts without context.
        text: what ``tokens`` are, for the report.

    Raises:
        SeqmemError: there is no word to score.
    """
    num_bytes, num_words = text_size(tokens, tokenizer)
    if not num_words:
        raise SeqmemError(f"evaluation text '{text}' has no words; give another split or folder")
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    state = model.init_state(batch_size)
    total_nats, num_tokens = 0.0, 0
    segments = evaluation_segments(tokens, batch_size, model.config.segment_len, tokenizer.bos_id)
    try:
        for inputs, targets, scored in segments:
            out = model(inputs.to(device), state)
            nll = model.head.nll(out.hidden, targets.to(device))
            total_nats += nll[scored.to(device)].double().sum().item()
            num_tokens += int(scored.sum())
            state = out.state
    finally:
        model.train(was_training)
    return Evaluation(
        text=text,
        total_nats=total_nats,
        num_tokens=num_tokens,
        num_bytes=num_bytes,
        num_words=num_words,
        lengths=model.config.model_dump(mode="json", include=set(LENGTHS)),
        memory=model.config.memory_note,
        num_streams=batch_size,
        tokenizer_hash=tokenizer.hash,
    )


def at_eval_lengths(model: CausalModel, config: EvalConfig) -> CausalModel:
    """The model, or its twin under the lengths that ``config`` gives."""
    lengths = config.model_dump(include=set(LENGTHS), exclude_none=True)
    if not lengths:
        return model
    if foreign := lengths.keys() - type(model.config).model_fields.keys():
        raise SeqmemError(f"eval.{min(foreign)}: this model has no {min(foreign)}; leave it out")
    return model.with_lengths(**lengths)


def evaluate_run(
    path: Path,
    split: str = "validation",
    *,
    data: Path | None = None,
    segment_len: int | None = None,
    mem_len: int | tuple[int, ...] | None = None,
    cmem_len: int | tuple[int, ...] | None = None,
    backend: str | None = None,
) -> Evaluation:
    """Measure a run or checkpoint and write the result to ``eval.json`` in the run folder.

    Args:
        path: a run or checkpoint folder.
        split: ``"validation"`` or ``"test"``, of the run's own text or of ``data``.
        data: a folder of .txt files instead.
        segment_len, mem_len, cmem_len, backend: instead of the recipe's; memory in slots, or one number a layer.
    """
    recipe = load_recipe_of(path)
    given = {"segment_len": segment_len, "mem_len": mem_len, "cmem_len": cmem_len}
    config = recipe.eval.model_copy(update={key: value for key, value in given.items() if value is not None})
    tokenizer = load_tokenizer(path)
    run_dir = run_folder(path)
    if data is None and (run_dir / "tokens").is_dir():
        corpus = TokenizedCorpus.load(run_dir / "tokens")
    else:
        source = recipe.data if data is None else DataConfig(path=data)
        corpus = TokenizedCorpus.build(load_corpus(source), tokenizer)
    text = f"{split} split of {corpus.note}"
    model = at_eval_lengths(load(path, bind(backend or recipe.backend)).to(default_device()), config)
    evaluation = evaluate(model, corpus.splits[split], tokenizer, batch_size=config.batch_size, text=text)
    (run_dir / "eval.json").write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
    return evaluation
