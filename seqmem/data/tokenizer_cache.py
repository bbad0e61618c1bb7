"""SentencePiece models in the user's cache: what takes a minute to train is trained once."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import sentencepiece

from seqmem.config import TokenizerConfig
from seqmem.data.cache import directory, made_once
from seqmem.data.tokenizer import SETTINGS, Tokenizer
from seqmem.errors import SeqmemError

HASH = "hash"


def trained_once(texts: Sequence[str], config: TokenizerConfig) -> Tokenizer:
    """What :meth:`Tokenizer.train` gives: found if the same was trained before, else trained, by one process at a time.

    Raises:
        SeqmemError: as :meth:`Tokenizer.train` does.
    """
    identity = hashlib.sha256(json.dumps([sentencepiece.__version__, config.model_dump(), SETTINGS]).encode())
    for text in texts:
        identity.update(len(text).to_bytes(8) + text.encode("utf-8", errors="surrogateescape"))
    folder = directory("tokenizers") / identity.hexdigest()[:16]

    def make(workplace: Path) -> Tokenizer:
        tokenizer = Tokenizer.train(texts, config)
        tokenizer.save(workplace)
        (workplace / HASH).write_text(tokenizer.hash)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(workplace, folder)
        return tokenizer

    return made_once(folder, folder.parent, lambda: _found(folder), make)


def _found(folder: Path) -> Tokenizer | None:
    """The tokenizer, unless it is damaged."""
    with suppress(SeqmemError, OSError):
        tokenizer = Tokenizer.load(folder)
        return tokenizer if tokenizer.hash == (folder / HASH).read_text() else None
    return None
