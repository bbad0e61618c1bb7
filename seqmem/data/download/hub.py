"""PG-19 as Parquet files on the Hugging Face Hub: a row a book, with the columns of ``metadata.csv`` and ``text``."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqmem.data.download.counts import Counts
from seqmem.data.download.remote import Checksum, RemoteFile
from seqmem.data.download.web import Web
from seqmem.errors import SeqmemError

BASE_URL = "https://huggingface.co"
DATASET = "emozilla/pg19"
SHARD = re.compile(r"data/((\w+)-(\d{5})-of-(\d{5})[\w-]*\.parquet)", re.ASCII)
SHA256 = re.compile("[0-9a-f]{64}")


def find(web: Web, base_url: str, splits: Sequence[str]) -> list[RemoteFile]:
    """The files of ``splits``, each in a folder of its split, which is how a corpus knows splits.

    Raises:
        SeqmemError: pyarrow is missing, the data set cannot be listed, or the list lacks files of a split.
    """
    _parquet()
    base_url = base_url.rstrip("/")
    listing = f"{base_url}/api/datasets/{DATASET}/tree/main/data"
    shards = [(SHARD.fullmatch(str(entry.get("path"))), entry) for entry in _entries(web, listing)]
    found = []
    for split in splits:
        of_split = [(shard, entry) for shard, entry in shards if shard and shard[2] == split]
        number = len(of_split)
        numbers = sorted((int(shard[3]), int(shard[4])) for shard, _ in of_split)
        if not number or numbers != [(index, number) for index in range(number)]:
            raise SeqmemError(f"{listing} does not list all Parquet files of {split}; name another base URL")
        for shard, entry in of_split:
            url = f"{base_url}/datasets/{DATASET}/resolve/main/{shard[0]}"
            found.append(_file(url, f"{split}/{shard[1]}", entry))
    return found


def count(path: Path) -> Counts:
    """The books of one file, from its footer; their words are not counted."""
    parquet = _parquet()
    try:
        return Counts(parquet.read_metadata(path).num_rows, None)
    except ValueError as error:  # which pyarrow's own errors are
        raise SeqmemError(f"{path} is no Parquet file ({str(error).splitlines()[0]}); name another base URL") from None


def _entries(web: Web, listing: str) -> list[dict[str, Any]]:
    try:
        entries = json.loads(web.read(listing))
    except ValueError:
        entries = None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SeqmemError(f"{listing} is no list of files; name the base URL of a Hugging Face Hub")
    return entries


def _file(url: str, name: str, entry: dict[str, Any]) -> RemoteFile:
    """A file of such a size is listed with the SHA-256 of its content."""
    size, large = entry.get("size"), entry.get("lfs")
    digest = large.get("oid") if isinstance(large, dict) else None
    if not isinstance(size, int) or not SHA256.fullmatch(str(digest)):
        raise SeqmemError(f"{url} is listed without size or SHA-256; name another base URL")
    return RemoteFile(url, name, size, Checksum("sha256", str(digest)))


def _parquet() -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise SeqmemError(
            "the Hub's copy of PG-19 is Parquet, and the package pyarrow, which reads it, is missing; "
            "pip install 'seqmem[data]', or fetch the bucket's"
        ) from None
    return parquet
