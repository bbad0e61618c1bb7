"""Tables of characters and of words: what is in them, in which order, and what is spelled in bytes."""

import json

import pytest

from seqmem.config import TokenizerConfig
from seqmem.data.table_tokenizer import FILE_NAME, LONGEST, TableTokenizer
from seqmem.errors import SeqmemError

FIRST = 257
"""The id after those of bytes and BOS."""


def trained(kind: str, *texts: str, vocab_size: int = 4096) -> TableTokenizer:
    return TableTokenizer.train(texts, TokenizerConfig(kind=kind, vocab_size=vocab_size))


def tokens(tokenizer: TableTokenizer, text: str) -> list[str]:
    return [tokenizer.decode([index]) for index in tokenizer.encode(text).tolist()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("And the earth", "And| the| earth"),
        ("the man's 'word', said", "the| man's| '|word|',| said"),
        ("it\u2019s  1,000\r\n\n\tends --", "it\u2019s| | 1|,|000|\r|\n|\n|\t|ends| --"),
        ("_very_ \u00e9t\u00e9...", "_|very|_| \u00e9t\u00e9|..."),
    ],
)
def test_words_are_runs_of_letters_or_of_signs_after_a_space_or_not(text, words):
    assert tokens(trained("words", text), text) == words.split("|")


def test_the_most_frequent_have_ids_and_the_lower_of_equals_come_first():
    text = "bb aa\n" * 2 + "dd\ncc\nee\nee\nee\n"
    tokenizer = trained("words", text, vocab_size=261)
    assert [tokenizer.decode([index]) for index in range(FIRST, tokenizer.vocab_size)] == ["ee", " aa", "bb", "cc"]
    assert tokenizer.encode("ee dd").tolist() == [FIRST, *b" dd"]


def test_characters_of_one_byte_are_bytes():
    tokenizer = trained("characters", "ab\u00e9\u00e9\u732b\U0001f389")
    assert tokenizer.vocab_size == FIRST + 3
    assert tokenizer.encode("a\u00e9\u0451\U0001f389").tolist() == [97, FIRST, *"\u0451".encode(), FIRST + 2]


def test_there_may_be_fewer_than_asked_for():
    assert trained("words", "").vocab_size == FIRST
    assert trained("words", "one two one").vocab_size == FIRST + 3


def test_the_same_text_gives_the_same_table_and_another_another(sample_text):
    first, again = (trained("words", sample_text) for _ in range(2))
    assert first.hash == again.hash
    assert len({trained(kind, sample_text, "ever").hash for kind in ("words", "characters")} | {first.hash}) == 3


def test_ids_are_wider_where_there_are_many():
    words = trained("words", " ".join(f"x{number}" for number in range(1 << 16)), vocab_size=1 << 17)
    assert words.encode("").dtype == "int32"
    assert tokens(words, "x0 x9 x65535") == ["x0", " x9", " x65535"]


def test_what_is_too_long_for_a_word_is_spelled():
    assert tokens(trained("words", "a" * LONGEST), "a" * LONGEST) == ["a" * LONGEST]
    assert trained("words", "a" * (LONGEST + 1)).vocab_size == FIRST


@pytest.mark.parametrize(
    "content", ["", "noise", "[]", "{}", '{"kind": "signs", "table": []}', '{"kind": "words", "table": [1]}']
)
def test_what_is_no_table_is_an_error(content, tmp_path):
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(SeqmemError, match="not a table of tokens; restore the file"):
        TableTokenizer.load(tmp_path)


def test_a_table_can_be_read_by_others(tmp_path):
    trained("words", "caf\u00e9 caf\u00e9").save(tmp_path)
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {"kind": "words", "table": [" caf\u00e9", "caf\u00e9"]}
