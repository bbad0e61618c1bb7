"""Tokenizers give back every text, are the same every time and say what they cannot do."""

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqmem.config import TokenizerConfig
from seqmem.data.tokenizer import Tokenizer
from seqmem.errors import SeqmemError

HARD_TEXTS = [
    "",
    "a  b",
    "  leading and trailing  ",
    "\n",
    "one\n\n\ntwo\r\nthree\rfour",
    "\ttabs\t\t",
    "emoji 🎉 family 👩‍👩‍👧",
    "NUL \0 inside",
    "U+2581 ▁ is not a space ▁▁",
    "▁",
    "<s> <unk> </s> <0x41>",
    "\ufffd \u2047 \u2585 \u2028 \ufeff",
    "combining e\u0301, ligature \ufb01, full width \uff21",
    "日本語のテキスト",
]


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_texts_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_round_trips(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.num_bytes[ids].sum() == len(text.encode())


def test_training_text_is_shortened(tokenizer, sample_text):
    ids = tokenizer.encode(sample_text)
    assert len(ids) < 0.6 * len(sample_text)
    assert ids.dtype == np.uint16
    assert ids.max() < tokenizer.vocab_size == 500


def test_documents_begin_with_bos_which_is_no_text(tokenizer):
    ids = tokenizer.encode_documents(["one", "two"])
    assert (ids == tokenizer.bos_id).sum() == 2
    assert ids[0] == tokenizer.bos_id
    assert tokenizer.decode(ids) == "onetwo"
    assert len(tokenizer.encode_documents([])) == 0


def test_training_is_deterministic_and_the_hash_tells_tokenizers_apart(sample_text):
    config = TokenizerConfig(vocab_size=400)
    first, again = (Tokenizer.train([sample_text], config) for _ in range(2))
    other = Tokenizer.train([sample_text], TokenizerConfig(vocab_size=401))
    assert first.hash == again.hash != other.hash


def test_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.hash == tokenizer.hash
    assert hashlib.sha256((tmp_path / "tokenizer" / "tokenizer.model").read_bytes()).hexdigest().startswith(loaded.hash)
    assert (loaded.encode("some text") == tokenizer.encode("some text")).all()


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


def test_lone_surrogates_are_an_error(tokenizer):
    with pytest.raises(SeqmemError, match="not valid Unicode at character 2"):
        tokenizer.encode("ab\udc80")


def test_loading_from_nowhere_or_from_noise_is_an_error(tmp_path):
    with pytest.raises(SeqmemError, match="no tokenizer there"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"noise")
    with pytest.raises(SeqmemError, match="not a SentencePiece model"):
        Tokenizer.load(tmp_path)


def test_large_texts_are_thinned_evenly(sample_text, monkeypatch):
    config = TokenizerConfig(vocab_size=300)
    every_third = Tokenizer.train(sample_text.splitlines()[::3], config)
    monkeypatch.setattr("seqmem.data.tokenizer.MAX_CHARACTERS", len(sample_text) // 2 - 2000)
    assert Tokenizer.train([sample_text], config).hash == every_third.hash
