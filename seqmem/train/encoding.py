"""What all objectives of encoders have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from seqmem.config import EvalConfig, Recipe
from seqmem.data.special_ids import SpecialIds
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError
from seqmem.models import ENCODERS
from seqmem.train.objective import M, Objective


class EncoderObjective(Objective[M]):
    """Texts are read whole, each by itself; the vocabulary is the tokenizer's and :class:`SpecialIds`."""

    models = ENCODERS
    rows = "texts"

    def model_config(self, recipe: Recipe, vocab_size: int | None = None) -> Any:
        text_ids = vocab_size or recipe.tokenizer.vocab_size
        return super().model_config(recipe, text_ids + SpecialIds.COUNT)

    def conclude(self, model: M, vocabulary: Vocabulary, recipe: Recipe, run_dir: Path) -> str:
        return f"\nNext: seqmem eval {run_dir}"


@contextmanager
def measuring(model: torch.nn.Module) -> Iterator[torch.device]:
    """While entered, ``model`` is in eval mode and keeps no graph; gives its device."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        model.train(was_training)


def refuse_segments(config: EvalConfig, windows: tuple[int, int] | None) -> None:
    """Refuse what says how a causal model is to be measured."""
    names = ("segment_len", "mem_len", "cmem_len", "at_document_end")
    given = [f"eval.{name}" for name in names if getattr(config, name) is not None]
    if given or windows:
        raise SeqmemError(f"{(given or ['overlapping windows'])[0]}: an encoder reads whole texts; leave it out")


def tokenizer_of(vocabulary: Vocabulary) -> TextVocabulary:
    """The vocabulary, which is a tokenizer: recipes of encoders have no codec."""
    assert isinstance(vocabulary, TextVocabulary)
    return vocabulary
