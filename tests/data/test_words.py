"""Words counted by arrays are those of ``str.split``."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqmem.data import words
from seqmem.data.words import count_words


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("ab \t\r\n\x00\x1c\x1f\x85\u00a0\u2003\u200b\u3000\udcff😀é")), st.integers(1, 9))
def test_it_is_the_number_of_parts(monkeypatch, text: str, block_len: int):
    monkeypatch.setattr(words, "BLOCK_LEN", block_len)
    assert count_words(text) == len(text.split())


@pytest.mark.parametrize("template", ["{}", "a{}b", " {}", "{}{}a"])
def test_every_character_is_a_space_where_it_is_one_for_split(template: str):
    for code in [*range(0x3100), *range(0x3100, sys.maxunicode, 97), sys.maxunicode]:
        text = template.replace("{}", chr(code))
        assert count_words(text) == len(text.split())
