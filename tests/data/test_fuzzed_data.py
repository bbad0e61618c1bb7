"""Whatever is in a folder: a correct result or an error of one line, and never a byte lost."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqmem.config import DataConfig, TokenizerConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.corpus import SPLITS, load_corpus
from seqmem.data.store.build import tokenized
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizer import Tokenizer
from seqmem.errors import SeqmemError

BYTES = ByteTokenizer()
RECORDS = (".jsonl", ".gz", ".zst", ".fasta", ".parquet")

CONTENTS = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="ab \t\r\n\0▁é", max_size=400).map(str.encode),
    st.text(alphabet="añ猫\n", max_size=100).map(lambda text: text.encode("utf-16")),
    st.text(alphabet="añ\n ", max_size=100).map(lambda text: text.encode("latin-1")),
    st.builds(
        lambda text, number: (text * number).encode(), st.text("xyz \n", min_size=1, max_size=9), st.integers(1, 99)
    ),
    st.lists(st.sampled_from([b'{"text": "a\\nb"}', b'{"id": 1}', b"[]", b"{", b"", b">a", b"ACGT"]), max_size=30).map(
        b"\n".join
    ),
)
NAMES = st.sampled_from(
    [
        "a.txt",
        "b.TXT",
        "train/1.txt",
        "train/2.txt",
        "validation/1.txt",
        "validation/3.txt",
        "test/5.txt",
        "c.jsonl",
        "d.jsonl.gz",
        "e.jsonl.zst",
        "f.fasta",
        "g.parquet",
        "train/h.jsonl",
        "metadata.csv",
        ".hidden",
        "i",
    ]
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return Tokenizer.train(["a man a plan a canal\n" * 30], TokenizerConfig(kind="bpe", vocab_size=280))


def read_back(path: Path, tokenizer: TextVocabulary) -> dict[str, bytes] | str:
    """The documents of each split, end to end, out of a store that was made of them; or what was wrong."""
    try:
        corpus = load_corpus(DataConfig(path=path), isinstance(tokenizer, ByteTokenizer))
        corpus.need("train", "validation")
        store = tokenized(corpus, tokenizer)
    except SeqmemError as error:
        return str(error)
    return {split: tokenizer.decode_bytes(np.asarray(store.splits[split][:]).tolist()) for split in SPLITS}


def one_line(message: str) -> bool:
    return "\n" not in message and len(message) > 20


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, CONTENTS, max_size=5), st.booleans())
def test_folders(place, pieces, files, as_bytes):
    for path in place.iterdir():
        shutil.rmtree(path)
    folder = place / "data"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    found = read_back(folder, BYTES if as_bytes else pieces)
    if isinstance(found, str):
        assert one_line(found)
        return
    in_splits = {name for name in files if "/" in name}
    read = {name for name in in_splits or files if Path(name).suffix.lower() in (".txt", *RECORDS)}
    if all(name.lower().endswith(".txt") for name in read):
        assert Counter(b"".join(found.values())) == Counter(b"".join(files[name] for name in read))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENTS, st.booleans())
def test_files(place, pieces, content, as_bytes):
    path = place / "file.txt"
    path.write_bytes(content)
    found = read_back(path, BYTES if as_bytes else pieces)
    if isinstance(found, str):
        assert one_line(found)
        return
    assert b"".join(found[split] for split in SPLITS) == content


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "a.txt").write_text("secret\n" * 99)
    (tmp_path / "a.txt").chmod(0)
    assert "a.txt cannot be read (Permission denied); change its permissions" in read_back(tmp_path, BYTES)
