"""Data that is broken in every way we know: an error of one line, or a correct result, and no traceback."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest


def empty(folder: Path) -> None:
    (folder / "a.txt").touch()


def long_line(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"x" * 3_000_000)


def only_nul(folder: Path) -> None:
    (folder / "a.txt").write_bytes(bytes(100_000))


def wrong_encoding(folder: Path) -> None:
    (folder / "a.txt").write_bytes(("Grüße\n" * 500).encode("latin-1"))


def wide_encoding(folder: Path) -> None:
    (folder / "a.txt").write_bytes(("Grüße\n" * 500).encode("utf-16"))


def no_metadata(folder: Path) -> None:
    for split in ("train", "validation", "test"):
        (folder / split).mkdir()
        (folder / split / f"{len(split)}.txt").write_text("a book\n" * 99)


def same_id_twice(folder: Path) -> None:
    no_metadata(folder)
    (folder / "test" / "5.txt").write_text("the book of train\n")


def loop_of_links(folder: Path) -> None:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    (folder / "c.txt").symlink_to(folder)


def another_schema(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"tokens": [[1, 2, 3]]}), folder / "a.parquet")


def cut_archive(folder: Path) -> None:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 999)[:-20])


def folder_named_as_a_file(folder: Path) -> None:
    (folder / "a.txt").mkdir()


def test_one_character_is_looked_at_and_not_trained_on(tmp_path, seqmem):
    (tmp_path / "a.txt").write_text("x")
    assert seqmem("data", "info", tmp_path).code == 0
    done = seqmem("train", "recipes/pg19", "--data", tmp_path, "--run", tmp_path / "run")
    assert done.code == 1
    assert "no text for a train split" in done.err or "no text for a validation split" in done.err


BROKEN: dict[Callable[[Path], None], str] = {
    empty: "a.txt is empty; remove it or give it text",
    long_line: "",
    only_nul: "",
    wrong_encoding: "",
    wide_encoding: "a.txt is UTF-16, not UTF-8; convert it",
    no_metadata: "",
    same_id_twice: "book 5 is in train/ and in test/; remove one",
    loop_of_links: "cannot be read",
    another_schema: "no column 'text' of strings; it has tokens",
    cut_archive: "cannot be unpacked",
    folder_named_as_a_file: "holds no .txt",
}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_broken_kinds(tmp_path, seqmem, make):
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    for command in (
        ["data", "info", folder],
        ["train", "recipes/pg19", "--data", folder, *SHORT, "--run", tmp_path / "run"],
    ):
        done = seqmem(*command)
        said = done.out + done.err
        assert "Traceback" not in said
        if BROKEN[make]:
            assert done.code == 1
            assert BROKEN[make] in " ".join(done.err.split())
            assert len(done.err.strip().splitlines()) <= 3
        else:
            assert done.code == 0, said


SHORT = [
    *("--tokenizer.kind", "bytes", "--train.steps", 1, "--train.batch_size", 2, "--train.warmup_steps", 1),
    *(
        "--model.num_layers",
        1,
        "--model.d_model",
        8,
        "--model.num_heads",
        1,
        "--model.head_dim",
        8,
        "--model.d_inner",
        8,
    ),
    *("--generate.tokens", 2, "--eval.batch_size", 64),
]
