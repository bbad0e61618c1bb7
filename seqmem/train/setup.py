"""From a recipe and perhaps a checkpoint to a session ready for its next step."""

from pathlib import Path
from typing import Any

import torch

from seqmem.config import Recipe
from seqmem.data.codec import Codec
from seqmem.data.corpus import load_corpus
from seqmem.data.documents import Documents
from seqmem.data.store.build import tokenized
from seqmem.data.store.token_store import TokenStore
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import new_tokenizer
from seqmem.data.tokens import Tokens, read_tokens, saved_tokens
from seqmem.data.vocabulary import TokenArray, Vocabulary
from seqmem.errors import SeqmemError
from seqmem.models.base import CausalModel
from seqmem.models.model import Model
from seqmem.ops import Ops
from seqmem.train.checkpoint import (
    load_recipe_of,
    load_trained,
    load_vocabulary,
    load_weights,
    newest_checkpoint,
    step_of,
    vocabulary_folder,
)
from seqmem.train.device import default_device, keep_freed_memory
from seqmem.train.next_token import NextToken
from seqmem.train.objective import M, Objective, objective_of
from seqmem.train.session import Session
from seqmem.train.stages import Stage, stage_at, stages_of

SECTIONS = ("data", "tokenizer", "codec", "masking", "task", "recall", "model")
"""Of a recipe: what a run cannot change on the way."""


def starting_point(recipe: Recipe, run_dir: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, None for a fresh start.

    Raises:
        SeqmemError: ``run_dir`` has checkpoints, but ``resume`` is off or they are another recipe's.
    """
    checkpoint = newest_checkpoint(run_dir)
    if checkpoint is None:
        return None
    if not resume:
        raise SeqmemError(f"run '{run_dir}' has checkpoints already; resume it or name another folder")
    before = load_recipe_of(checkpoint)
    same = {section: getattr(before, section) == getattr(recipe, section) for section in SECTIONS}
    same |= {
        f"train.{key}": getattr(before.train, key) == getattr(recipe.train, key)
        for key in ("batch_size", "stages", "bmi", "at_document_end")
    }
    if changed := [name for name, is_same in same.items() if not is_same]:
        raise SeqmemError(
            f"run '{run_dir}' was begun with another {' and '.join(changed)}; restore it or name another run folder"
        )
    return checkpoint


def prepare_data(recipe: Recipe, run_dir: Path, checkpoint: Path | None) -> tuple[Vocabulary, Tokens]:
    """Vocabulary and tokens: the run's own where it has them, else made from the recipe's data and put there."""
    folder = run_dir / "tokens"
    source = checkpoint or recipe.train.init
    vocabulary = load_vocabulary(source) if source else None
    if vocabulary and isinstance(vocabulary, Codec) != bool(recipe.codec):
        raise SeqmemError(f"train.init: run '{source}' is of {vocabulary.unit}s, the recipe is not; name another run")
    if checkpoint and vocabulary and folder.is_dir():
        return vocabulary, saved_tokens(folder, vocabulary, recipe.data)
    if vocabulary is None and recipe.codec:
        vocabulary = Codec(recipe.codec)
    if vocabulary:
        tokens = read_tokens(recipe.data, vocabulary)
    else:
        vocabulary, tokens = _new_text(recipe)
    vocabulary.save(run_dir / vocabulary_folder(recipe))
    tokens.save(folder)
    return vocabulary, tokens


def _new_text(recipe: Recipe) -> tuple[TextVocabulary, TokenStore]:
    """A tokenizer trained on the corpus that it then encodes."""
    corpus = load_corpus(recipe.data, recipe.tokenizer.kind == "bytes")
    corpus.need("train", "validation")
    tokenizer = new_tokenizer(corpus.splits["train"], recipe.tokenizer)
    return tokenizer, tokenized(corpus, tokenizer)


def start_session(
    recipe: Recipe, vocabulary: Vocabulary, corpus: Tokens, ops: Ops, checkpoint: Path | None
) -> Session[Any]:
    """A model with its batches and optimizer, as initialised by ``train.seed`` or as the checkpoint left them."""
    objective = objective_of(recipe)
    stage = stage_at(stages_of(recipe, vocabulary.vocab_size), step_of(checkpoint) if checkpoint else 1)
    model = _new_model(recipe, objective, stage.config, ops)
    batches = stage.objective.batches(corpus, vocabulary, stage.config, stage.training)
    session = Session(model, batches, stage.training, objective)
    if checkpoint:
        load_weights(session.model, checkpoint)
        session.restore(checkpoint)
    elif recipe.train.init:
        _begin_with(model, recipe.train.init, objective, ops)
    else:
        session.begin()
    return session


def enter_stage(session: Session[Any], stage: Stage, vocabulary: Vocabulary, corpus: Tokens) -> None:
    """Have the session's next steps be of ``stage``."""
    model = session.model.with_lengths(**stage.config.model_dump())
    session.go_on(model, stage.objective.batches(corpus, vocabulary, stage.config, stage.training), stage.training)


def _begin_with(model: Model, init: Path, objective: Objective[Any], ops: Ops) -> None:
    """Give ``model`` the weights of the run ``init``."""
    try:
        objective.adopt(model, load_trained(init, ops))
    except RuntimeError:
        raise SeqmemError(f"train.init: the model of '{init}' is another; give this one the same settings") from None


def new_session(recipe: Recipe, vocab_size: int, tokens: TokenArray, ops: Ops) -> Session[CausalModel]:
    """The recipe's causal model before its first step on ``tokens [N]``, ids below ``vocab_size``."""
    objective = NextToken()
    model = _new_model(recipe, objective, objective.model_config(recipe, vocab_size), ops)
    stream = objective.stream(Documents.one(tokens), model.config, recipe.train.batch_size)
    session = Session(model, stream, recipe.train)
    session.begin()
    return session


def _new_model(recipe: Recipe, objective: Objective[M], config: Any, ops: Ops) -> M:
    """The recipe's model as ``config`` has it, initialised by ``train.seed``, in a process made ready for training."""
    if recipe.train.num_threads:
        torch.set_num_threads(recipe.train.num_threads)
    # Moments of rarely seen embeddings decay into denormal numbers, which slow a CPU down many times over.
    torch.set_flush_denormal(True)
    keep_freed_memory()
    torch.manual_seed(recipe.train.seed)
    return objective.build(config, ops).to(default_device())
