"""What a run trains on and is measured on: a corpus or sounds as tokens, found again from the run's folder."""

import json
from contextlib import suppress
from pathlib import Path

from seqmem.config import DataConfig
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.codec import Codec
from seqmem.data.corpus import Corpus, load_corpus
from seqmem.data.sounds import load_sounds
from seqmem.data.store.build import tokenized
from seqmem.data.store.token_store import FILE_NAME, TokenStore
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError

Tokens = TokenStore | AudioCorpus


def read_tokens(data: DataConfig, vocabulary: Vocabulary, needed: tuple[str, ...] = ("train", "validation")) -> Tokens:
    """The text or the sounds that ``data`` names, as tokens of ``vocabulary``.

    Raises:
        SeqmemError: the data is missing or unusable, or has no text for a split that is ``needed``.
    """
    if isinstance(vocabulary, Codec):
        return AudioCorpus.build(load_sounds(data, vocabulary.sample_rate), vocabulary)
    assert isinstance(vocabulary, TextVocabulary)
    corpus = load_text(data, vocabulary)
    corpus.need(*needed)
    return tokenized(corpus, vocabulary)


def load_text(data: DataConfig, tokenizer: TextVocabulary) -> Corpus:
    """The text that ``data`` names; a single file is cut by bytes where these are the tokens."""
    return load_corpus(data, isinstance(tokenizer, ByteTokenizer))


def saved_tokens(folder: Path, vocabulary: Vocabulary, data: DataConfig) -> Tokens:
    """What was saved in ``folder``, once read from ``data``; where the store is gone, it is made anew.

    Raises:
        SeqmemError: the data is not what it was.
    """
    if isinstance(vocabulary, Codec):
        return AudioCorpus.load(folder, vocabulary, data)
    try:
        about = json.loads((folder / FILE_NAME).read_text())
        place, digest = Path(about["store"]), about["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        raise SeqmemError(f"{folder}: what the run trains on is not written there; begin a new run") from None
    with suppress(SeqmemError):
        store = TokenStore.open(place)
        if store.digest == digest:
            return store
    assert isinstance(vocabulary, TextVocabulary)
    store = tokenized(load_text(data, vocabulary), vocabulary)
    if store.digest != digest:
        raise SeqmemError(f"data '{data.name}' has changed since the run began; restore it or begin a new run")
    return store
