"""Tokenized corpora come back as they were, and their folders appear whole or not at all."""

import numpy as np
import pytest

from seqmem.data.atomic import atomic_folder
from seqmem.data.corpus import Corpus, Document
from seqmem.data.tokens import TokenizedCorpus


def test_saved_tokens_are_the_same(tokenizer, tmp_path):
    splits = {
        "train": [Document("a", "one two"), Document("b", "three")],
        "validation": [Document("c", "x")],
        "test": [],
    }
    corpus = TokenizedCorpus.build(Corpus("name", "a note", splits), tokenizer)
    corpus.save(tmp_path / "tokens")
    loaded = TokenizedCorpus.load(tmp_path / "tokens")
    assert (loaded.name, loaded.note) == ("name", "a note")
    assert loaded.splits.keys() == splits.keys()
    for split, tokens in corpus.splits.items():
        assert loaded.splits[split].dtype == tokens.dtype
        assert isinstance(loaded.splits[split], np.memmap), "mapped, not read"
        assert not loaded.splits[split].flags.writeable
        assert np.array_equal(loaded.splits[split], tokens)
    assert tokenizer.decode(loaded.splits["train"]) == "one twothree"


def test_failed_folder_leaves_nothing(tmp_path):
    def fail():
        with atomic_folder(tmp_path / "new") as partial:
            (partial / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_folder_is_replaced_as_a_whole_and_leftovers_go(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "old").touch()
    (tmp_path / ".new.partial").mkdir()
    (tmp_path / ".new.partial" / "leftover").touch()
    with atomic_folder(tmp_path / "new") as partial:
        (partial / "file").touch()
        assert (tmp_path / "new" / "old").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file"]
