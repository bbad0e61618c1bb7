"""PG-19 as it was released: a bucket of ``<split>/<id>.txt`` and ``metadata.csv``, listed in XML.

The listing is that of Google Cloud Storage's XML interface, which is S3's first version. A book's split is known from
nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from seqmem.data.download.counts import Counts, refuse_other_books
from seqmem.data.download.remote import Checksum, RemoteFile
from seqmem.data.download.web import Web
from seqmem.data.words import count_words
from seqmem.errors import SeqmemError

BASE_URL = "https://storage.googleapis.com/deepmind-gutenberg"
METADATA = "metadata.csv"
BOOK = re.compile(r"\w+/\d+\.txt", re.ASCII)
MD5 = re.compile("[0-9a-f]{32}")


def find(web: Web, base_url: str, splits: Sequence[str]) -> list[RemoteFile]:
    """The books of ``splits``, and the metadata of all.

    Raises:
        SeqmemError: the bucket cannot be listed, or has other numbers of books than PG-19.
    """
    found = []
    for split in splits:
        books = [file for file in _listed(web, base_url, f"{split}/") if BOOK.fullmatch(file.name)]
        refuse_other_books(base_url, split, len(books))
        found += books
    metadata = [file for file in _listed(web, base_url, METADATA) if file.name == METADATA]
    if not metadata:
        raise SeqmemError(f"{base_url} has no {METADATA}; name a base URL with all of PG-19")
    return found + metadata


def count(path: Path) -> Counts:
    """Of one book."""
    return Counts(1, count_words(path.read_bytes().decode("utf-8", errors="surrogateescape")))


def _listed(web: Web, base_url: str, prefix: str) -> Iterator[RemoteFile]:
    """Every file whose name begins with ``prefix``, page by page."""
    marker, names = "", set[str]()
    while True:
        page = _page(web, base_url, prefix, marker)
        files = [_file(base_url, entry) for entry in page.iterfind("{*}Contents")]
        for file in files:
            if file.name in names:
                raise SeqmemError(f"{base_url} lists {file.name} twice; try again later or name another base URL")
            names.add(file.name)
            yield file
        if page.findtext("{*}IsTruncated", "").strip() != "true":
            return
        if not files:
            raise SeqmemError(f"{base_url} lists an empty page before its last; name another base URL")
        marker = page.findtext("{*}NextMarker") or files[-1].name


def _page(web: Web, base_url: str, prefix: str, marker: str) -> ElementTree.Element:
    try:
        page = ElementTree.fromstring(web.read(base_url, prefix=prefix, marker=marker))
    except (ElementTree.ParseError, LookupError, ValueError):  # the latter two: of its encoding
        page = ElementTree.Element("")
    if page.tag.rpartition("}")[2] != "ListBucketResult":
        raise SeqmemError(f"{base_url} does not list its files as a bucket does; name the URL of a bucket")
    return page


def _file(base_url: str, entry: ElementTree.Element) -> RemoteFile:
    name, size, tag = (entry.findtext(f"{{*}}{field}", "").strip() for field in ("Key", "Size", "ETag"))
    if not name or not (size.isascii() and size.isdecimal()):
        raise SeqmemError(f"{base_url} lists {name!r} with {size!r} bytes; name another base URL")
    digest = tag.strip('"').lower()  # of a file that was sent to the bucket in parts, something else
    checksum = Checksum("md5", digest) if MD5.fullmatch(digest) else None
    return RemoteFile(f"{base_url.rstrip('/')}/{name}", name, int(size), checksum)
