"""Tokenizers of every kind give back every text, wherever it is cut, and are found again."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seqmem.config import TokenizerConfig
from seqmem.data import segmented_vocabulary
from seqmem.data.sources.source import Text, decoded
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import new_tokenizer, saved_tokenizer
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
    "Съешь ещё этих мягких французских булок",
    "نص حكيم له سر قاطع",
    "x" * 5000,
]
BYTES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="etaoin .'_1\t\r\n▁é猫", max_size=60).map(str.encode),
)
any_kind = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_texts_round_trip(tokenizer: TextVocabulary, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@any_kind
@given(content=BYTES)
@example(content=b"caf\xe9 na\xefve\r\n")
@example(content=b"\xff\xfe \xe7\x8c\n\xed\xa0\x80")
def test_any_bytes_round_trip(tokenizer: TextVocabulary, content: bytes):
    ids = tokenizer.encode(decoded(content))
    assert ids.dtype == np.uint16
    assert tokenizer.decode_bytes(ids.tolist()) == content
    assert tokenizer.num_bytes[ids].sum() == len(content)


@any_kind
@given(before=BYTES, after=BYTES)
def test_texts_may_be_cut_after_line_breaks_and_before_spaces(tokenizer, before, after):
    for first, second in ((before + b"\n", after), (before, b" " + after)):
        parts = [tokenizer.encode(decoded(part)) for part in (first, second)]
        assert tokenizer.encode(decoded(first) + decoded(second)).tolist() == np.concatenate(parts).tolist()


@any_kind
@given(content=BYTES)
def test_words_begin_at_spaces_at_line_breaks_and_after_these(tokenizer, content):
    ids = tokenizer.encode(decoded(content))
    begins = np.flatnonzero(tokenizer.begins_word(ids)) if len(ids) else []
    words = [tokenizer.decode_bytes(part.tolist()) for part in np.split(ids, begins)[1:]]
    assert words == [word for word in re.split(rb"(?<=\n)|(?=[ \n])", content) if word]


def test_documents_begin_with_bos_which_is_no_text(tokenizer):
    ids = tokenizer.encode_documents(["one", "two"])
    assert (ids == tokenizer.bos_id).sum() == 2
    assert ids[0] == tokenizer.bos_id
    assert tokenizer.num_bytes[tokenizer.bos_id] == 0
    assert tokenizer.decode(ids) == "onetwo"
    assert len(tokenizer.encode_documents([])) == 0


def test_it_is_the_same_when_it_was_saved(tokenizer, tmp_path, sample_text):
    tokenizer.save(tmp_path / "tokenizer")
    found = saved_tokenizer(tmp_path / "tokenizer")
    assert type(found) is type(tokenizer)
    assert (found.hash, found.vocab_size, found.bos_id) == (tokenizer.hash, tokenizer.vocab_size, tokenizer.bos_id)
    assert found.describe() == tokenizer.describe()
    assert found.hash in found.describe()
    assert np.array_equal(found.encode(sample_text), tokenizer.encode(sample_text))


def test_segments_may_be_more_than_are_remembered(tokenizer, sample_text, tmp_path, monkeypatch):
    tokenizer.save(tmp_path)
    monkeypatch.setattr(segmented_vocabulary, "MAX_REMEMBERED", 20)
    found = saved_tokenizer(tmp_path)
    lines = [found.encode(line) for line in sample_text.splitlines(keepends=True)]
    assert np.array_equal(np.concatenate(lines), tokenizer.encode(sample_text))


def test_surrogates_that_stand_for_no_byte_are_an_error(tokenizer):
    with pytest.raises(SeqmemError, match="not valid Unicode at character 2"):
        tokenizer.encode("ab\ud800")


@pytest.mark.parametrize("kind", ["unigram", "bpe", "words", "characters"])
def test_bytes_that_are_no_text_are_learnt_by_no_tokenizer(kind, sample_text):
    noise = Text("noise", sample_text.replace("a", "\udcff"))
    tokenizer = new_tokenizer([noise], TokenizerConfig(kind=kind, vocab_size=300))
    ids = tokenizer.encode("\udcff\udcff").tolist()
    assert len(ids) == 2
    assert tokenizer.decode_bytes(ids) == b"\xff\xff"


def test_nothing_is_found_where_nothing_was_saved(tmp_path):
    with pytest.raises(SeqmemError, match="no tokenizer there"):
        saved_tokenizer(tmp_path)
