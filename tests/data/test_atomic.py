"""Folders and files appear whole or not at all."""

import pytest

from seqmem.data.atomic import atomic_file, atomic_folder


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


def test_a_failed_file_leaves_the_one_before(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fail():
        with atomic_file(path) as partial:
            partial.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_file(path) as partial:
        partial.write(b"after")
    assert path.read_text() == "after"
