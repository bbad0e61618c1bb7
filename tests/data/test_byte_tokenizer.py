"""Bytes as tokens: lossless for any bytes, and found again from a folder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmem.config import Recipe, TokenizerConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.text_size import text_size
from seqmem.errors import SeqmemError
from seqmem.schema import validated

BYTES = ByteTokenizer()


@given(content=st.binary())
def test_any_bytes_round_trip_one_token_each(content: bytes):
    ids = BYTES.encode_bytes(content)
    assert ids.dtype == np.uint16
    assert ids.tolist() == list(content)
    assert BYTES.decode_bytes(ids.tolist()) == content
    assert (BYTES.encode(content.decode("utf-8", errors="surrogateescape")) == ids).all()


def test_documents_begin_with_bos_which_is_no_text():
    ids = BYTES.encode_documents(["one", "é"])
    assert ids.tolist() == [256, *b"one", 256, *"é".encode()]
    assert BYTES.decode(ids) == "oneé"
    assert len(BYTES.encode_documents([])) == 0
    assert text_size(ids, BYTES) == (5, 2)


def test_words_are_counted_in_bytes_that_are_no_text():
    assert text_size(BYTES.encode_bytes(b"\xff\xfe two\0 \x80words"), BYTES, chunk_len=3) == (14, 3)


def test_words_begin_at_spaces_at_line_breaks_and_after_these():
    begins = BYTES.begins_word(BYTES.encode("to be\nor"))
    assert [place for place, does in enumerate(begins) if does] == [0, 2, 5, 6]


def test_a_recipe_of_bytes_needs_no_vocab_size():
    model = {"name": "lstm", "num_layers": 1, "d_model": 8, "segment_len": 8}
    for tokenizer in ({"kind": "bytes"}, {"kind": "bytes", "vocab_size": 4096}):
        values = {"name": "x", "description": "x", "model": model, "tokenizer": tokenizer}
        recipe = validated(Recipe, values, "test")
        assert recipe.vocabulary_settings == {"vocab_size": 257}
        assert validated(Recipe, recipe.model_dump(mode="json"), "test") == recipe


def test_too_few_pieces_are_an_error():
    with pytest.raises(SeqmemError, match=r"'vocab_size' = 260: give more than 260"):
        validated(TokenizerConfig, {"vocab_size": 260}, "test")
