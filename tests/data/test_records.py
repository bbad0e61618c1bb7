"""JSON Lines and Parquet: every record is a document, and what is neither is said in a line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from seqmem.config import DataConfig
from seqmem.data.corpus import SPLITS, load_corpus
from seqmem.data.sources import jsonl
from seqmem.errors import SeqmemError

TEXTS = {f"book {number}": f"é text of {number}\r\nin two lines" * number for number in range(45)}


def write_jsonl(path: Path, texts: dict[str, str]) -> Path:
    lines = "\n\n".join(json.dumps({"title": name, "text": text}) for name, text in texts.items()).encode()
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, lambda data: data)
    path.write_bytes(pack(lines))
    return path


def write_parquet(path: Path, texts: dict[str, str]) -> Path:
    table = pa.table({"short_book_title": list(texts), "publication_date": [1900] * len(texts), "text": texts.values()})
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", write_jsonl),
        ("a.jsonl.zst", write_jsonl),
        ("a.ndjson.gz", write_jsonl),
        ("a.parquet", write_parquet),
    ],
)
def test_records_are_dealt_as_files_are(tmp_path, name, write):
    corpus = load_corpus(DataConfig(path=write(tmp_path / name, TEXTS)))
    found = {split: list(corpus.documents(split)) for split in SPLITS}
    titles = list(TEXTS)
    assert [title for title, _ in found["validation"]] == [titles[9], titles[29]]
    assert [title for title, _ in found["test"]] == [titles[19], titles[39]]
    assert dict(document for split in SPLITS for document in found[split]) == TEXTS
    assert "45 documents" in corpus.note


def test_numbers_go_on_from_file_to_file(tmp_path):
    for number in range(3):
        write_jsonl(tmp_path / f"{number}.jsonl", {f"{number}-{index}": "text" for index in range(15)})
    corpus = load_corpus(DataConfig(path=tmp_path))
    assert [name for name, _ in corpus.documents("validation")] == ["0-9", "1-14"]
    assert [name for name, _ in corpus.documents("test")] == ["1-4", "2-9"]


def test_few_records_are_cut(tmp_path):
    text = "".join(f"line {number}\n" for number in range(300))
    corpus = load_corpus(DataConfig(path=write_jsonl(tmp_path / "a.jsonl", {"a": text, "b": text})))
    for title in ("a", "b"):
        assert "".join(text for split in SPLITS for name, text in corpus.documents(split) if name == title) == text


def test_splits_may_be_files_of_records(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        write_parquet(tmp_path / split / "part.parquet", {f"{split} book": "text"})
    corpus = load_corpus(DataConfig(path=tmp_path))
    assert [list(corpus.documents(split)) for split in SPLITS] == [
        [("train book", "text")],
        [("validation book", "text")],
        [],
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "a.jsonl is empty; remove it or give it records"),
        ("a.jsonl", b"\n \n", "a.jsonl is empty"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', r"line 2 is not JSON \(.*\); mend or remove it"),
        ("a.jsonl", b'{"body": "a", "id": 3}', 'line 1 has no "text"; it has body, id; give every document as'),
        ("a.jsonl", b'{"text": 7}', 'has no "text"; it has text'),
        ("a.jsonl", b'["text"]', "it is no object"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", b"\xff\xfe\x00", "line 1 is not JSON"),
        ("a.jsonl.gz", b"not packed", r"a\.jsonl\.gz cannot be unpacked \(.*\); fetch it again"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}' * 99, mtime=0)[:-9], "cannot be unpacked"),
        ("a.jsonl.zst", b"not packed", r"a\.jsonl\.zst cannot be unpacked"),
        ("a.parquet", b"not parquet", r"a\.parquet is no Parquet file that can be read \(.*\); fetch it again"),
        ("a.parquet", b"", "is empty|is no Parquet file"),
    ],
)
def test_unusable_records_are_errors(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SeqmemError, match=message) as caught:
        list(load_corpus(DataConfig(path=tmp_path / name)).documents("train"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"body": ["a"]}, r"has no column 'text' of strings; it has body \(string\); rename the column"),
        ({"text": [1]}, r"it has text \(int64\)"),
        ({"text": pa.array([], pa.string())}, "is empty; remove it or give it rows"),
    ],
)
def test_tables_of_another_kind_are_errors(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SeqmemError, match=message):
        list(load_corpus(DataConfig(path=tmp_path / "a.parquet")).documents("train"))


def test_a_row_without_text_is_a_document_without_text(tmp_path):
    table = pa.table({"text": pa.array(["one\n" * 50, None])})
    pq.write_table(table, tmp_path / "a.parquet")
    corpus = load_corpus(DataConfig(path=tmp_path / "a.parquet"))
    assert [name for name, _ in corpus.documents("train")] == ["row-1"]


def test_a_line_without_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE", 1000)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a" * 2000}))
    with pytest.raises(SeqmemError, match="line 1 is longer than"):
        list(load_corpus(DataConfig(path=tmp_path / "a.jsonl")).documents("train"))


@pytest.mark.parametrize(("name", "package"), [("a.jsonl.zst", "zstandard"), ("a.parquet", "pyarrow")])
def test_a_missing_package_is_an_error_with_the_fix(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"packed")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(SeqmemError, match=rf"the package {package}, which .* is missing; pip install 'seqmem\[data\]'"):
        next(load_corpus(DataConfig(path=tmp_path / name)).documents("train"))
