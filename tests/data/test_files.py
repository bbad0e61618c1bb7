"""Files here and at URLs: which are found, how they are read, and what is said when they cannot be."""

import itertools
import os
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmem.config import DataConfig
from seqmem.data.corpus import SPLITS, load_corpus
from seqmem.data.sources import source
from seqmem.data.sources.files import find
from seqmem.data.sources.source import document, encoded, in_pieces
from seqmem.errors import SeqmemError


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".txt").write_text(text)
    return folder


def test_folders_inside_are_searched_and_hidden_files_are_not(tmp_path):
    write(tmp_path, b="b", a__c="c", a__b__d="d")
    (tmp_path / ".hidden.txt").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("x")
    assert [file.name for file in find(tmp_path)] == ["a/b/d.txt", "a/c.txt", "b.txt"]


def test_links_that_lead_in_circles_are_entered_once(tmp_path):
    write(tmp_path, a__b="b")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    assert [file.name.rsplit("/", 1)[-1] for file in find(tmp_path)] == ["b.txt"]


@pytest.mark.parametrize("target", ["nowhere.txt", "link.txt"])
def test_a_link_to_nothing_is_an_error(tmp_path, target):
    (tmp_path / "link.txt").symlink_to(tmp_path / target)
    with pytest.raises(SeqmemError, match=r"link\.txt cannot be read \("):
        find(tmp_path)


def test_what_is_no_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(SeqmemError, match=r"pipe\.txt is neither a file nor a folder"):
        find(tmp_path)


def test_a_file_that_shrank_is_an_error(tmp_path):
    path = write(tmp_path, a="long enough") / "a.txt"
    (file,) = find(path)
    path.write_text("no")
    with pytest.raises(SeqmemError, match=r"a\.txt has become shorter, or its reading broke off, 9 bytes"):
        list(file.blocks())


@pytest.fixture
def remote() -> fsspec.AbstractFileSystem:
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


def test_urls_are_read_as_paths_are(tmp_path, remote):
    texts = {f"{number:02}": f"text {number}\r\n" for number in range(25)}
    write(tmp_path, **texts)
    for path in tmp_path.iterdir():
        remote.pipe_file(f"/books/{path.name}", path.read_bytes())
    here, there = (load_corpus(DataConfig(path=place)) for place in (tmp_path, "memory://books"))
    for split in SPLITS:
        assert list(here.documents(split)) == list(there.documents(split))
    assert "memory://books" in there.note
    assert there.name == "books"


def test_splits_may_be_at_a_url(remote):
    for split in ("train", "val"):
        remote.pipe_file(f"/books/{split}/a.txt", split.encode())
    corpus = load_corpus(DataConfig(path="memory://books"))
    assert list(corpus.documents("validation")) == [("a", "val")]


def test_a_file_may_be_at_a_url(remote):
    remote.pipe_file("/enwik", bytes(range(256)) * 4)
    corpus = load_corpus(DataConfig(path="memory://enwik"), as_bytes=True)
    parts = [encoded(text) for split in SPLITS for _, text in corpus.documents(split)]
    assert b"".join(parts) == bytes(range(256)) * 4


@pytest.mark.parametrize("url", ["memory://nothing", "nosuch://books", "http://127.0.0.1:9/books.txt"])
def test_a_url_that_leads_nowhere_is_an_error(remote, url):
    with pytest.raises(SeqmemError, match=f"{url} cannot be read") as caught:
        load_corpus(DataConfig(path=url))
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300), st.lists(st.integers(1, 50)), st.integers(4, 40))
def test_pieces_are_the_text_however_it_is_read(content, sizes, most):
    blocks = []
    rest = content
    for size in sizes:
        blocks.append(rest[:size])
        rest = rest[size:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PIECE_BYTES", most)
        pieces = list(in_pieces([*blocks, rest]))
        assert pieces == list(in_pieces([content]))
    assert b"".join(map(encoded, pieces)) == content
    assert all(len(encoded(piece)) <= most for piece in pieces)


@given(st.text(alphabet="aé€😀 \n", max_size=200), st.integers(4, 40))
def test_pieces_end_after_lines_else_before_spaces_else_between_characters(text, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PIECE_BYTES", most)
        pieces = list(in_pieces([text.encode()]))
    assert "".join(pieces) == text
    for piece, following in itertools.pairwise(pieces):
        assert piece.endswith("\n") or ("\n" not in piece and (following.startswith(" ") or " " not in piece[1:]))


def test_a_document_without_text_begins_all_the_same():
    assert list(document("a", [])) == [("", "a")]
    assert list(document("a", ["x", "y"])) == [("x", "a"), ("y", None)]
