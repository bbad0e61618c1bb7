"""Bytes and words counted in chunks are those of the whole documents."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqmem.data.text_size import text_size
from seqmem.data.tokenizer import Tokenizer

# Letters of one to four bytes, and what str.split takes for whitespace beside the usual.
WRITING = st.text(alphabet="abc \n\t\x1c\x85\xa0\u2003\u3000éжका语😀", max_size=12)
CUT_CHARACTERS = st.lists(st.sampled_from("é語😀\u3000".encode()), max_size=4).map(bytes)


def spell(tokenizer: Tokenizer, part: str | bytes | None) -> list[int]:
    """A text, bytes that need not be UTF-8, or the BOS that None stands for, in tokens."""
    if part is None:
        return [tokenizer.bos_id]
    if isinstance(part, str):
        return tokenizer.encode(part).tolist()
    ids = {tokenizer.decode_bytes([index]): index for index in range(tokenizer.vocab_size)}
    return [ids[bytes([byte])] for byte in part]


def whole_documents(tokens: np.ndarray, tokenizer: Tokenizer) -> tuple[int, int]:
    """The definition: every document decoded as a whole."""
    documents = np.split(tokens, np.flatnonzero(tokens == tokenizer.bos_id))
    num_words = sum(len(tokenizer.decode(document).split()) for document in documents)
    return sum(len(tokenizer.decode_bytes(document)) for document in documents), num_words


@settings(deadline=None, max_examples=300)
@given(parts=st.lists(st.one_of(st.none(), WRITING, CUT_CHARACTERS), max_size=12), chunk_len=st.integers(1, 9))
@example(parts=["one ", "two", None, "three", None, None, " four"], chunk_len=1)
@example(parts=["ab", b"\xf0\x9f", None, b"\x98", "c", b"\xe3\x80"], chunk_len=2)
def test_chunks_count_what_whole_documents_hold(tokenizer, parts, chunk_len):
    tokens = np.array([index for part in parts for index in spell(tokenizer, part)], dtype=np.uint16)
    assert text_size(tokens, tokenizer, chunk_len) == whole_documents(tokens, tokenizer)


@pytest.mark.parametrize("chunk_len", [1, 1000])
def test_a_word_may_span_chunks_but_no_documents(tokenizer, chunk_len):
    tokens = tokenizer.encode_documents(["one two", "three\u2003fóur ", ""])
    assert text_size(tokens, tokenizer, chunk_len) == (21, 4)


def test_nothing_has_no_size(tokenizer):
    assert text_size(np.array([], dtype=np.uint16), tokenizer) == (0, 0)
