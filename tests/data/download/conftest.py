"""A bucket of books on a server in a thread, which misbehaves as it is told."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from seqmem.data.download import counts, web


class Handler(BaseHTTPRequestHandler):
    """Answers as its server's :class:`Bucket` says."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: "Server"

    def setup(self) -> None:
        super().setup()
        self.server.bucket.connections += 1

    def do_GET(self) -> None:
        bucket = self.server.bucket
        address = urlsplit(self.path)
        name = address.path.removeprefix("/pg19").lstrip("/")
        bucket.requests.append((name, self.headers.get("Range")))
        trick = next(bucket.tricks.get(name, iter(())), None)
        if trick:
            trick(self, bucket.files.get(name, b""))
        elif not name:
            self.answer(bucket.listing(**{key: values[0] for key, values in parse_qs(address.query).items()}))
        elif name in bucket.files:
            self.answer_range(bucket.files[name])
        else:
            self.answer(b"<Error>NoSuchKey</Error>", 404)

    def answer_range(self, content: bytes, sent: int | None = None) -> None:
        """What was asked for, or only the first bytes of it."""
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            extent = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], 206, {"Content-Range": extent}, sent)
        else:
            self.answer(content, sent=sent)

    def answer(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = self.close_connection or (sent is not None and sent < len(body))

    def log_message(self, format: str, *args: object) -> None:
        pass


Trick = Callable[[Handler, bytes], None]


class Bucket:
    """Files by name; ``tricks`` are answers to the next requests for a file, after which it answers well.

    Attributes:
        requests: the name and the range of each so far; of the listing, which has no name, too.
        page_len: files on a page of the listing.
    """

    def __init__(self, base_url: str, files: dict[str, bytes]) -> None:
        self.base_url = base_url
        self.files = files
        self.page_len = 2
        self.names_markers = True
        self.has_md5 = True
        self.connections = 0
        self.released = threading.Event()
        self.requests: list[tuple[str, str | None]] = []
        self.tricks: dict[str, Iterator[Trick]] = {}

    def play(self, name: str, *tricks: Trick) -> None:
        self.tricks[name] = iter(tricks)

    def always(self, name: str, trick: Trick) -> None:
        self.tricks[name] = repeat(trick)

    def fetched(self) -> list[str]:
        return sorted(name for name, _ in self.requests if name)

    def listing(self, prefix: str = "", marker: str = "") -> bytes:
        names = sorted(name for name in self.files if name.startswith(prefix) and name > marker)
        page = names[: self.page_len]
        is_truncated = page != names
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.files[name])}</Size><ETag>{self._tag(name)}</ETag></Contents>"
            for name in page
        )
        following = f"<NextMarker>{page[-1]}</NextMarker>" if is_truncated and self.names_markers else ""
        return (
            "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{following}{entries}</ListBucketResult>"
        ).encode()

    def _tag(self, name: str) -> str:
        return f'"{hashlib.md5(self.files[name]).hexdigest()}"' if self.has_md5 else '"abc-7"'

    @staticmethod
    def status(code: int, body: bytes = b"", **headers: str) -> Trick:
        return lambda handler, content: handler.answer(body, code, headers)

    @staticmethod
    def drop_after(num_bytes: int) -> Trick:
        """The connection ends there."""
        return lambda handler, content: handler.answer_range(content, sent=num_bytes)

    def stall_after(self, num_bytes: int) -> Trick:
        """Nothing more comes until ``released`` is set."""

        def trick(handler: Handler, content: bytes) -> None:
            handler.answer_range(content, sent=num_bytes)
            handler.wfile.flush()
            self.released.wait()

        return trick

    @staticmethod
    def send(other: bytes | None = None) -> Trick:
        """Something else, or the file, with its own length and whatever range was asked for."""
        return lambda handler, content: handler.answer(content if other is None else other)

    @staticmethod
    def send_open_ended(other: bytes) -> Trick:
        """Something else, whose length is told by the end of the connection."""

        def trick(handler: Handler, content: bytes) -> None:
            handler.close_connection = True
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(other)

        return trick


class Server(ThreadingHTTPServer):
    bucket: Bucket

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed, or have heard enough, are no errors here."""


def book(words: int) -> bytes:
    """A text with lines that end as the release's do, a character of two bytes and a byte that is not UTF-8."""
    return b"".join(b"word%d \xc3\xa9\r\n" % index for index in range(words // 2)) + b"\xff" * (words % 2)


FILES = {
    "train/7.txt": book(4000),
    "train/8.txt": book(31),
    "train/11.txt": book(600),
    "train/12.txt": book(2),
    "train/13.txt": book(900),
    "validation/9.txt": book(500),
    "test/1.txt": book(1001),
    "test/2.txt": book(40_000),
    "test/10.txt": book(77),
    "metadata.csv": b"1,A,1900,http://x\r\n",
}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Five, one and three books, which are all that PG-19 has here."""
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "*")
    for split, number, words in (("train", 5, 5533), ("validation", 1, 500), ("test", 3, 41_078)):
        monkeypatch.setitem(counts.BOOKS, split, number)
        monkeypatch.setitem(counts.WORDS, split, words)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.bucket = Bucket(f"http://127.0.0.1:{server.server_port}/pg19", dict(FILES))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.bucket
        server.bucket.released.set()
        server.shutdown()
