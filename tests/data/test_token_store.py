"""Stores of tokens: what was read comes back, however it was made; what is damaged, stale or half made is made anew."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seqmem.config import TokenizerConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.cache import directory
from seqmem.data.corpus import SPLITS, Corpus, Splits
from seqmem.data.sources import source
from seqmem.data.sources.source import Piece, Source, Text, encoded
from seqmem.data.store import build, encode
from seqmem.data.store.build import tokenized
from seqmem.data.store.token_store import TokenStore
from seqmem.data.text_size import text_size
from seqmem.data.tokenizer import Tokenizer
from seqmem.errors import SeqmemError

BYTES = ByteTokenizer()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQMEM_DATA_CACHE", str(tmp_path / "cache"))


def books(number: int, words: int = 60) -> list[Text]:
    rng = np.random.default_rng(number)
    return [
        Text(f"book {index}", "".join(f"{word} {'é' * (word % 3)}\n" for word in rng.integers(0, 99, words)))
        for index in range(number)
    ]


def corpus(splits: Splits | None = None, identity: str = "1") -> Corpus:
    splits = splits or {"train": books(9), "validation": books(2), "test": books(1)}
    return Corpus("books", "here", identity, lambda: (splits, "Books."))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few words, and shards of a few pieces."""
    monkeypatch.setattr(source, "PIECE_BYTES", 50)
    monkeypatch.setattr(build, "SHARD_TOKENS", 300)


def documents(store: TokenStore, split: str, tokenizer: ByteTokenizer | Tokenizer) -> list[bytes]:
    tokens = store.splits[split][:]
    starts = np.flatnonzero(tokens == tokenizer.bos_id)
    assert np.array_equal(starts, store.document_starts(split))
    return [tokenizer.decode_bytes(part.tolist()) for part in np.split(tokens, starts)[1:]]


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return Tokenizer.train([book.text for book in books(9)], TokenizerConfig(kind="bpe", vocab_size=273))


@pytest.mark.parametrize("tokenizer", ["bytes", "pieces"])
def test_what_was_read_comes_back(small, tokenizer, request):
    tokenizer = BYTES if tokenizer == "bytes" else request.getfixturevalue(tokenizer)
    whole = corpus()
    store = tokenized(whole, tokenizer)
    assert len(store.shards["train"]) > 3
    for split in SPLITS:
        texts = [text for _, text in whole.documents(split)]
        assert documents(store, split, tokenizer) == [text.encode() for text in texts]
        assert store.total(split, "num_documents") == len(texts)
        assert store.total(split, "num_words") == sum(len(text.split()) for text in texts)
        assert store.total(split, "num_bytes") == sum(len(text.encode()) for text in texts)
        size = text_size(store.splits[split], tokenizer)
        assert size == (store.total(split, "num_bytes"), store.total(split, "num_words"))
        names = [store.document_at(split, place) for place in store.document_starts(split)]
        assert names == [source.name for source in whole.splits[split]]
    assert store.document_at("train", 10**9) == "book 8"
    assert store.tokens_per_unit("test") == len(store.splits["test"]) / store.total("test", "num_bytes")


def test_words_that_two_pieces_share_are_counted_once(small):
    text = [Text("a", "x" * 170 + " " + "y" * 120 + "\n")]
    store = tokenized(corpus({"train": text, "validation": text, "test": []}), BYTES)
    assert store.total("train", "num_words") == 2


def test_shards_are_read_as_one_array(small):
    store = tokenized(corpus(), BYTES)
    tokens = store.splits["train"]
    whole = tokens[:]
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(whole), (7, 30))
    assert np.array_equal(tokens[places], whole[places])
    for start, stop, step in [(0, 5, 1), (290, 310, 1), (100, 1200, 7), (-20, None, 1), (50, 40, 1)]:
        assert np.array_equal(tokens[start:stop:step], whole[start:stop:step])
    assert tokens[:].dtype == tokens[places].dtype == np.uint16


def test_a_store_that_is_there_is_opened(monkeypatch):
    store = tokenized(corpus(), BYTES)
    monkeypatch.setattr(build, "encode", None)
    assert tokenized(corpus(), BYTES) == store


def test_bytes_that_are_not_utf8_come_back_and_are_counted(pieces):
    text = source.decoded(b"good \xff\xfe bad \xc3\n")
    for tokenizer in (BYTES, pieces):
        splits = {"train": [Text("a", text)], "validation": books(1), "test": []}
        store = tokenized(corpus(splits), tokenizer)
        assert documents(store, "train", tokenizer) == [b"good \xff\xfe bad \xc3\n"]
        assert store.note == "Books. 3 bytes of it are not UTF-8."


def test_several_processes_make_the_same_store(small, monkeypatch, pieces):
    alone = tokenized(corpus(), pieces)
    before = {split: alone.splits[split][:] for split in SPLITS}
    monkeypatch.setattr(encode, "BYTES_WORTH_A_WORKER", 1)
    monkeypatch.setattr(build, "BYTES_WORTH_A_WORKER", 1)
    monkeypatch.setattr(build, "num_cores", lambda: 2)
    together = tokenized(corpus(identity="2"), pieces)
    assert together.digest == alone.digest
    assert all(np.array_equal(together.splits[split][:], before[split]) for split in SPLITS)


class Breaking(Source):
    """Gives its pieces until it breaks."""

    def __init__(self, text: Text, after: int | None):
        self.name, self.num_bytes, self._text, self._after = text.name, text.num_bytes, text, after
        self.num_read = 0

    def pieces(self) -> Iterator[Piece]:
        for number, piece in enumerate(self._text.pieces()):
            if number == self._after:
                raise SeqmemError("the disk is gone")
            self.num_read += 1
            yield piece


def test_what_was_done_before_a_failure_is_used(small):
    texts = books(9)
    whole = tokenized(corpus({"train": texts, "validation": texts[:1], "test": []}, "0"), BYTES)
    digest, tokens = whole.digest, whole.splits["train"][:]

    def mended(after: int | None) -> Splits:
        return {"train": [*texts[:6], Breaking(texts[6], after), *texts[7:]], "validation": texts[:1], "test": []}

    with pytest.raises(SeqmemError, match="the disk is gone"):
        tokenized(corpus(mended(after=3)), BYTES)
    (workplace,) = directory("tokens").glob(".*.parts")
    done = sorted(workplace.glob("train-*.json"))
    assert len(done) > 3
    times = [path.stat().st_mtime_ns for path in done]
    store = tokenized(corpus(mended(after=None)), BYTES)
    assert [(store.folder / path.name).stat().st_mtime_ns for path in done] == times, "shards were made again"
    assert store.digest == digest
    assert np.array_equal(store.splits["train"][:], tokens)
    assert not workplace.exists()


def test_what_was_done_of_other_texts_is_not_used(small):
    texts = books(9)
    broken = {"train": [*texts[:6], Breaking(texts[6], 1)], "validation": texts, "test": []}
    with pytest.raises(SeqmemError, match="gone"):
        tokenized(corpus(broken, "1"), BYTES)
    others = [Text("other", "o" * 5000)]
    store = tokenized(corpus({"train": others, "validation": texts, "test": []}, "2"), BYTES)
    assert documents(store, "train", BYTES) == [b"o" * 5000]


@pytest.mark.parametrize("ending", [".tokens", ".starts", ".names"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_store_is_named_and_made_anew(small, capsys, ending, damage):
    store = tokenized(corpus(), BYTES)
    digest = store.digest
    path = store.folder / f"train-00001{ending}"
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(SeqmemError, match=rf"train-00001\{ending} of this store of tokens is damaged"):
        TokenStore.open(store.folder)
    assert tokenized(corpus(), BYTES).digest == digest
    said = capsys.readouterr().err
    assert said == f"{store.folder}: {path.name} of this store of tokens is damaged; making it anew\n"
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1}', '{"format": 0}', "null"])
def test_a_damaged_manifest_is_named_and_the_store_made_anew(capsys, content):
    store = tokenized(corpus(), BYTES)
    (store.folder / "store.json").write_text(content)
    assert tokenized(corpus(), BYTES).digest == store.digest
    (said,) = capsys.readouterr().err.splitlines()
    assert str(store.folder) in said


def test_a_store_that_was_copied_is_whole(small):
    store = tokenized(corpus(), BYTES)
    for path in store.folder.glob("*.tokens"):
        os.utime(path)
    assert TokenStore.open(store.folder) == store


def test_a_stale_store_is_named_and_made_anew(capsys):
    tokenized(corpus(), BYTES)
    others = {"train": books(3), "validation": books(1), "test": []}
    store = tokenized(corpus(others, "2"), BYTES)
    assert documents(store, "train", BYTES) == [encoded(book.text) for book in books(3)]
    said = capsys.readouterr().err
    assert said == f"{store.folder}: 'books' has changed since its tokens were stored; making them anew\n"


KILLED = """
import sys, time
from pathlib import Path
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.config import DataConfig
from seqmem.data.corpus import load_corpus
from seqmem.data.sources import source
from seqmem.data.store import build
source.PIECE_BYTES, build.SHARD_TOKENS = 50, 300
at_once = build.encode
build.encode = lambda *given: (time.sleep(0.002) or piece for piece in at_once(*given))
build.tokenized(load_corpus(DataConfig(path=sys.argv[1])), ByteTokenizer())
"""


def test_kill_9_loses_nothing(small, tmp_path):
    text = tmp_path / "text"
    text.write_text("".join(f"line {number}\n" for number in range(5000)))
    for wait in (0.05, 0.1, 0.2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(text)], env=os.environ)
        deadline = time.monotonic() + 60
        while not list(directory("tokens").glob(".*.parts/*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (workplace,) = directory("tokens").glob(".*.parts")
    num_done = len(list(workplace.glob("train-*.json")))
    assert num_done
    assert json.loads((workplace / "train-00000.json").read_text())["num_tokens"] >= 300
    from seqmem.config import DataConfig
    from seqmem.data.corpus import load_corpus

    store = tokenized(load_corpus(DataConfig(path=text)), BYTES)
    assert b"".join(part for split in SPLITS for part in documents(store, split, BYTES)) == text.read_bytes()
