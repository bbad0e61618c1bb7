"""A corpus from one file: records, or a text whose end is for validation and test."""

from pathlib import Path

from seqmem.data.corpus import SPLITS, Corpus, Document
from seqmem.data.fasta import is_fasta
from seqmem.data.folder import cut_each, read_documents, split_documents
from seqmem.errors import SeqmemError


def load(path: Path, as_bytes: bool) -> Corpus:
    """The first 90 % of a file for train, the next 5 % for validation, the last 5 % for test.

    UTF-8 text is cut at line borders. ``as_bytes``, any file is cut after ``N * 90 // 100`` and ``N * 95 // 100`` of
    its N bytes, which of enwik8 and text8 gives the usual 90, 5 and 5 million; bytes that are not UTF-8 stand in the
    text as ``surrogateescape`` has them. The records of a FASTA file are split as :func:`split_documents` says.

    Raises:
        SeqmemError: too small a file; as text, one that is not UTF-8; as FASTA, one that cannot be read.
    """
    if is_fasta(path):
        documents = read_documents(path)
        splits, how = split_documents(documents)
        how = f"{len(documents)} records, {how}"
    elif as_bytes:
        splits, how = _cut_bytes(path), "cut 90/5/5 by bytes"
    else:
        splits, how = cut_each(read_documents(path)), "cut 90/5/5 at line borders"
    for split in SPLITS:
        if not splits[split]:
            raise SeqmemError(f"data file '{path}': too little text to make a {split} split; name a larger file")
    return Corpus(path.name, f"File {path.resolve()}, {how}.", splits)


def _cut_bytes(path: Path) -> dict[str, list[Document]]:
    content = path.read_bytes()
    first, second = len(content) * 90 // 100, len(content) * 95 // 100
    parts = (content[:first], content[first:second], content[second:])
    return {
        split: [Document(path.stem, part.decode("utf-8", errors="surrogateescape"))] if part else []
        for split, part in zip(SPLITS, parts, strict=True)
    }
