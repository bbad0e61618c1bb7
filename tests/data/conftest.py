"""A text for tokenizers, and tokenizers trained on it."""

import random

import pytest

from seqmem.config import TokenizerConfig
from seqmem.data.sources.source import Text
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import new_tokenizer


@pytest.fixture(scope="session")
def sample_text() -> str:
    """Two thousand lines of made-up words, always the same."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(400)]
    return "".join(" ".join(rng.choices(words, k=8)) + ".\n" for _ in range(2000))


@pytest.fixture(scope="session", params=["unigram", "bpe", "words", "characters", "bytes"])
def tokenizer(request, sample_text) -> TextVocabulary:
    sources = [Text("made up", sample_text), Text("other letters", "猫 éé 猫\n")]
    return new_tokenizer(sources, TokenizerConfig(kind=request.param, vocab_size=500))
