"""SentencePiece models are the same every time and say what they cannot do."""

import hashlib

import numpy as np
import pytest
import sentencepiece

from seqmem.config import TokenizerConfig
from seqmem.data.tokenizer import FILE_NAME, Tokenizer
from seqmem.errors import SeqmemError


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request, sample_text) -> Tokenizer:
    return Tokenizer.train([sample_text], TokenizerConfig(kind=request.param, vocab_size=500))


def test_training_text_is_shortened(tokenizer, sample_text):
    ids = tokenizer.encode(sample_text)
    assert len(ids) < 0.6 * len(sample_text)
    assert ids.dtype == np.uint16
    assert ids.max() < tokenizer.vocab_size == 500


def test_words_encoded_one_by_one_are_what_sentencepiece_makes_of_lines(tokenizer, sample_text, tmp_path):
    tokenizer.save(tmp_path)
    plain = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / FILE_NAME))
    for line in [*sample_text.splitlines(keepends=True), "  two  spaces ", "tab\there", "sothereinnaliteru " * 9]:
        assert tokenizer.encode(line).tolist() == plain.encode(line)


def test_training_is_deterministic_and_the_hash_tells_tokenizers_apart(sample_text):
    config = TokenizerConfig(vocab_size=400)
    first, again = (Tokenizer.train([sample_text], config) for _ in range(2))
    other = Tokenizer.train([sample_text], TokenizerConfig(vocab_size=401))
    assert first.hash == again.hash != other.hash


def test_the_hash_is_that_of_the_saved_file(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    assert hashlib.sha256((tmp_path / FILE_NAME).read_bytes()).hexdigest().startswith(tokenizer.hash)


def test_text_of_one_long_line_is_enough(sample_text):
    Tokenizer.train([sample_text.replace("\n", " ")], TokenizerConfig(vocab_size=300))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_too_large_a_vocabulary_names_the_largest_possible(kind):
    text = ["the cat sat on the mat\n" * 20]
    with pytest.raises(
        SeqmemError, match=r"vocab_size = 4096: .* too small; the largest size possible is \d+"
    ) as error:
        Tokenizer.train(text, TokenizerConfig(kind=kind, vocab_size=4096))
    largest = int(str(error.value).split()[-1])
    assert Tokenizer.train(text, TokenizerConfig(kind=kind, vocab_size=largest)).vocab_size == largest


def test_too_large_an_alphabet_names_the_smallest_possible():
    text = ["".join(map(chr, range(0x4E00, 0x5200)))]
    with pytest.raises(SeqmemError, match=r"vocab_size = 300: .* the smallest size possible is 1\d\d\d"):
        Tokenizer.train(text, TokenizerConfig(vocab_size=300))


def test_no_text_at_all_is_an_error():
    with pytest.raises(SeqmemError, match="give more text"):
        Tokenizer.train([], TokenizerConfig())


def test_loading_from_nowhere_or_from_noise_is_an_error(tmp_path):
    with pytest.raises(SeqmemError, match="no tokenizer there"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"noise")
    with pytest.raises(SeqmemError, match="not a SentencePiece model"):
        Tokenizer.load(tmp_path)
