"""What a run trains on is found again from its folder, or made again, or refused if it has changed."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from seqmem.config import DataConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.store.token_store import TokenStore
from seqmem.data.tokens import read_tokens, saved_tokens
from seqmem.errors import SeqmemError


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    path = tmp_path / "text"
    path.write_text("".join(f"line {number}\n" for number in range(200)))
    return DataConfig(path=path)


@pytest.fixture
def store(data: DataConfig, tmp_path: Path) -> TokenStore:
    store = read_tokens(data, ByteTokenizer())
    assert isinstance(store, TokenStore)
    store.save(tmp_path / "tokens")
    return store


def test_what_was_saved_is_found(data, store, tmp_path):
    assert saved_tokens(tmp_path / "tokens", ByteTokenizer(), data) == store


def test_a_store_that_is_gone_is_made_again(data, store, tmp_path):
    shutil.rmtree(store.folder)
    again = saved_tokens(tmp_path / "tokens", ByteTokenizer(), data)
    assert again.splits.keys() == store.splits.keys()
    for tokens in again.splits.values():
        assert ByteTokenizer().decode(tokens[:]) in data.path.read_text()
    assert again.digest == store.digest


def test_a_store_that_is_there_does_not_need_the_text(data, store, tmp_path):
    data.path.unlink()
    assert saved_tokens(tmp_path / "tokens", ByteTokenizer(), data).digest == store.digest


def test_text_that_has_changed_is_refused(data, store, tmp_path):
    data.path.write_text(data.path.read_text().replace("line", "LINE"))
    shutil.rmtree(store.folder)
    with pytest.raises(SeqmemError, match="data 'text' has changed since the run began; restore it or begin a new run"):
        saved_tokens(tmp_path / "tokens", ByteTokenizer(), data)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"store": 3}'])
def test_a_damaged_reference_is_an_error(data, tmp_path, content):
    (tmp_path / "tokens").mkdir()
    if content is not None:
        (tmp_path / "tokens" / "store.json").write_text(content)
    with pytest.raises(SeqmemError, match="what the run trains on is not written there; begin a new run"):
        saved_tokens(tmp_path / "tokens", ByteTokenizer(), data)


def test_tokens_may_be_read_anywhere(store):
    tokens = store.splits["train"]
    whole = tokens[:]
    assert len(tokens) == len(whole) == store.total("train", "num_tokens")
    places = np.array([[0, len(whole) - 1], [5, 3]])
    assert np.array_equal(tokens[places], whole[places])
