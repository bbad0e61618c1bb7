"""FASTA: every record a document, line breaks joined, and one line for what is no FASTA."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from seqmem.config import DataConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.corpus import SPLITS, load_corpus
from seqmem.data.sources.fasta import count, read
from seqmem.data.sources.files import find
from seqmem.data.sources.records import Record
from seqmem.data.store.build import tokenized
from seqmem.errors import SeqmemError

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def write(path: Path, content: str | bytes) -> Path:
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix.lower() == ".gz" else data)
    return path


def read_records(path: Path) -> list[Record]:
    (file,) = find(path)
    records = list(read(file))
    assert count(file) == len(records)
    return records


def proteins(num_records: int, seed: int = 0) -> dict[str, str]:
    """Sequences of 100 to 200 residues by name."""
    draw = np.random.default_rng(seed)
    return {
        f"protein{index}": "".join(draw.choice(list(AMINO_ACIDS), draw.integers(100, 200)))
        for index in range(num_records)
    }


def written(records: dict[str, str], width: int = 60) -> str:
    def lines(sequence: str) -> str:
        return "".join(f"{sequence[start : start + width]}\n" for start in range(0, len(sequence), width))

    return "".join(f">{name} made up\n{lines(sequence)}" for name, sequence in records.items())


@pytest.mark.parametrize("name", ["a.fa", "a.fasta", "A.FAA", "a.fna", "a.fa.gz", "a.FASTA.GZ"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_was_written_is_read(tmp_path, name, line_end):
    records = proteins(5)
    path = write(tmp_path / name, written(records).replace("\n", line_end))
    assert read_records(path) == [Record(*record) for record in records.items()]


def test_masks_comments_spaces_and_stops(tmp_path):
    path = write(tmp_path / "a.fna", "; of 1988\n\n>chr1 a contig\nacgtNN RYK\n;more\n\n acg-t*\n>\nAC*")
    assert read_records(path) == [Record("chr1", "ACGTNNRYKACG-T*"), Record("line-8", "AC*")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fa", "", "a.fa is empty"),
        ("a.fa", "; only this\n\n", "a.fa is empty"),
        ("a.fa.gz", "", "a.fa.gz is empty"),
        ("a.fa", "ACGT\n", "line 1 comes before any header; begin every record with a line '>NAME'"),
        ("a.fa", ">a\n>b\nACGT\n", "record 'a' has no sequence; remove it"),
        ("a.fa", ">a\nACGT\n>b\n\n", "record 'b' has no sequence; remove it"),
        ("a.fa", ">a\nACGT\nAC1T\n", r"line 3 has '1', not a residue; leave letters, \* and -"),
        ("a.fa", ">a\nAC\0T\n", r"line 2 has '\\x00', not a residue"),
        ("a.fa", b">a\nACGT\n\xff\xfe\x00garbage", "line 3 has '\ufffd', not a residue"),
        ("a.fa", bytes(range(256)) * 4, "line 1 comes before any header"),
    ],
)
def test_what_is_no_fasta_is_an_error(tmp_path, name, content, message):
    with pytest.raises(SeqmemError, match=message) as caught:
        read_records(write(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_headers_may_say_anything(tmp_path):
    path = write(tmp_path / "a.fa", b"\xef\xbb\xbf>\xce\xb1 globin\nACGT\n>\xff\nAC\n")
    assert [document.name for document in read_records(path)] == ["\u03b1", "\ufffd"]


@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: b"not" + data, lambda data: data[:20]])
def test_a_damaged_archive_is_an_error(tmp_path, damage):
    path = tmp_path / "a.fa.gz"
    path.write_bytes(damage(gzip.compress(written(proteins(3)).encode())))
    with pytest.raises(SeqmemError, match=r"a\.fa\.gz cannot be unpacked .*fetch it again"):
        read_records(path)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_records_are_dealt_to_the_splits(tmp_path, as_bytes):
    records = proteins(41)
    corpus = load_corpus(DataConfig(path=write(tmp_path / "a.faa", written(records))), as_bytes)
    assert "41 documents, split by document" in corpus.note
    assert [len(list(corpus.documents(split))) for split in SPLITS] == [37, 2, 2]
    assert dict(document for split in SPLITS for document in corpus.documents(split)) == records


def test_a_few_long_records_are_cut(tmp_path):
    records = proteins(3)
    corpus = load_corpus(DataConfig(path=write(tmp_path / "a.faa", written(records))))
    for name, sequence in records.items():
        parts = [text for split in SPLITS for found, text in corpus.documents(split) if found == name]
        assert "".join(parts) == sequence
        assert len(parts) == 3


def test_a_folder_may_hold_texts_and_records(tmp_path):
    write(tmp_path / "b.txt", "prose\n" * 100)
    write(tmp_path / "a.fa.gz", written(proteins(2)))
    corpus = load_corpus(DataConfig(path=tmp_path))
    assert [name for name, _ in corpus.documents("train")] == ["protein0", "protein1", "b"]


def test_every_record_begins_with_bos_in_the_tokens(tmp_path):
    records = proteins(25)
    tokenizer = ByteTokenizer()
    corpus = load_corpus(DataConfig(path=write(tmp_path / "a.fa", written(records))), as_bytes=True)
    tokens = tokenized(corpus, tokenizer).splits["train"][:]
    sequences = np.split(tokens, np.flatnonzero(tokens == tokenizer.bos_id))[1:]
    expected = [text for _, text in corpus.documents("train")]
    assert [tokenizer.decode(sequence.tolist()) for sequence in sequences] == expected
