"""HTTP as downloads need it: connections that are kept, second tries, errors of one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
    TimeoutError,
)
from urllib3.util import parse_url

from seqmem import __version__
from seqmem.errors import SeqmemError

TRIES = 6
TRIES_TO_CONNECT = 3
REDIRECTS = 5
BACKOFF_SECONDS = 0.5
TIMEOUT = Timeout(connect=10, read=30)
BUSY = (408, 429, 500, 502, 503, 504)
HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"seqmem/{__version__}"}

REASONS: dict[type[Exception], str] = {
    NameResolutionError: "its host cannot be found; check the network and the base URL",
    NewConnectionError: "its host refuses connections; check the network and the base URL",
    TimeoutError: "its host does not answer; check the network or try again later",
    ProxyError: "the proxy of http_proxy or https_proxy does not answer; correct or unset it",
    SSLError: "its host's certificate is not trusted; check the base URL and this machine's clock and certificates",
}
STATUSES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "may not be read",
    HTTPStatus.FORBIDDEN: "may not be read",
    HTTPStatus.NOT_FOUND: "is not there",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "has become shorter",
}


class Web:
    """Servers, asked by several threads over as many connections."""

    def __init__(self, base_url: str, connections: int) -> None:
        """Through the proxy that the environment names for ``base_url``, if any.

        Raises:
            SeqmemError: ``base_url`` or the proxy is no address.
        """
        retry = Retry(
            TRIES,
            connect=TRIES_TO_CONNECT,
            redirect=REDIRECTS,
            status_forcelist=BUSY,
            backoff_factor=BACKOFF_SECONDS,
            raise_on_redirect=False,
            raise_on_status=False,
            respect_retry_after_header=False,  # which may name hours
        )
        scheme, host = _address(base_url, "base URL")
        proxy = getproxies().get(scheme)
        if proxy and not proxy_bypass(host):
            _address(proxy, "proxy")
            self._pool: PoolManager = ProxyManager(
                proxy, maxsize=connections, headers=HEADERS, retries=retry, timeout=TIMEOUT
            )
        else:
            self._pool = PoolManager(maxsize=connections, headers=HEADERS, retries=retry, timeout=TIMEOUT)

    def read(self, url: str, **query: str) -> bytes:
        """All that the server answers.

        Raises:
            SeqmemError: no answer, or one that is an error.
        """
        with _said_in_one_line(url):
            response = self._pool.request("GET", url, fields=query or None)
        _refuse_errors(response, url)
        return response.data

    @contextmanager
    def open(self, url: str, start: int) -> Iterator[BaseHTTPResponse]:
        """A file from byte ``start`` on, or all of it where the server does not know ranges.

        Raises:
            SeqmemError: no answer, or one that is an error. Reading the response may raise urllib3's ``HTTPError``.
        """
        headers = HEADERS | ({"Range": f"bytes={start}-"} if start else {})
        with _said_in_one_line(url):
            response = self._pool.request("GET", url, headers=headers, preload_content=False)
        try:
            _refuse_errors(response, url)
            yield response
        finally:
            response.close()


def reason_of(error: HTTPError) -> str:
    """Why it went wrong and what to do, without the addresses in memory that urllib3 adds."""
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    for kind, reason in REASONS.items():
        if isinstance(cause, kind):
            return reason
    return f"the connection broke ({' '.join(str(cause).split())}); try again later"


def _address(url: str, what: str) -> tuple[str, str]:
    try:
        parts = parse_url(url)
    except LocationValueError:
        parts = parse_url("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise SeqmemError(f"{what} '{url}' is no address; one begins with https:// or http://")
    return parts.scheme, parts.host


@contextmanager
def _said_in_one_line(url: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise SeqmemError(f"{url}: {reason_of(error)}") from None


def _refuse_errors(response: BaseHTTPResponse, url: str) -> None:
    status = response.status
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    reason = "redirects without end" if 300 <= status < 400 else STATUSES.get(status, "cannot be had now")
    raise SeqmemError(f"{url} {reason} (HTTP {status}); try again later or name another base URL")
