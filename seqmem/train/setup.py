"""From a recipe and perhaps a checkpoint to a session ready for its next step."""

from pathlib import Path

import torch

from seqmem.config import Recipe
from seqmem.data.corpus import load_corpus
from seqmem.data.stream import TokenStream
from seqmem.data.tokenizer import Tokenizer
from seqmem.data.tokens import TokenizedCorpus
from seqmem.errors import SeqmemError
from seqmem.models import build_model, model_config
from seqmem.ops import Ops
from seqmem.train.checkpoint import load_recipe_of, load_tokenizer, load_weights, newest_checkpoint
from seqmem.train.device import default_device, keep_freed_memory
from seqmem.train.session import Session


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
    same = {section: getattr(before, section) == getattr(recipe, section) for section in ("data", "tokenizer", "model")}
    same["train.batch_size"] = before.train.batch_size == recipe.train.batch_size
    if changed := [name for name, is_same in same.items() if not is_same]:
        raise SeqmemError(
            f"run '{run_dir}' was begun with another {' and '.join(changed)}; restore it or name another run folder"
        )
    return checkpoint


def prepare_data(recipe: Recipe, run_dir: Path, checkpoint: Path | None) -> tuple[Tokenizer, TokenizedCorpus]:
    """Tokenizer and tokens: the run's own where it has them, else made from the corpus and put there."""
    folder = run_dir / "tokens"
    if checkpoint and folder.is_dir():
        return load_tokenizer(checkpoint), TokenizedCorpus.load(folder)
    corpus = load_corpus(recipe.data)
    if checkpoint:
        tokenizer = load_tokenizer(checkpoint)
    else:
        tokenizer = Tokenizer.train((document.text for document in corpus.splits["train"]), recipe.tokenizer)
    tokenizer.save(run_dir / "tokenizer")
    tokens = TokenizedCorpus.build(corpus, tokenizer)
    tokens.save(folder)
    return tokenizer, tokens


def start_session(
    recipe: Recipe, tokenizer: Tokenizer, corpus: TokenizedCorpus, ops: Ops, checkpoint: Path | None
) -> Session:
    """A model with its stream and optimizer, as initialised by ``train.seed`` or as the checkpoint left them."""
    if recipe.train.num_threads:
        torch.set_num_threads(recipe.train.num_threads)
    # Moments of rarely seen embeddings decay into denormal numbers, which slow a CPU down many times over.
    torch.set_flush_denormal(True)
    keep_freed_memory()
    torch.manual_seed(recipe.train.seed)
    config = model_config(recipe.model_name, **recipe.model_overrides, vocab_size=tokenizer.vocab_size)
    model = build_model(config, ops).to(default_device())
    stream = TokenStream(corpus.splits["train"], recipe.train.batch_size, config.unroll_len)
    session = Session(model, stream, recipe.train)
    if checkpoint:
        load_weights(model, checkpoint)
        session.restore(checkpoint)
    return session
