"""Fetches what URLs name, from strangers: every hop is checked, nothing is believed about sizes, time is limited."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from tempfile import SpooledTemporaryFile
from typing import IO, cast

import httpx

from pegasus import __version__
from pegasus.errors import Invalid, NotFound, PegasusError, TooLarge, Unavailable, Unreadable
from pegasus.ports import Dialer, Fetched

USER_AGENT = f"Pegasus/{__version__} (+https://www.rfc-editor.org/rfc/rfc9309)"
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_TOTAL_SECONDS, _SILENT_SECONDS = 60.0, 15.0
_BLOCK = 2**16
_IN_MEMORY_BYTES = 2**20
_ENCODINGS = {"": None, "identity": None, "gzip": 47, "x-gzip": 47, "deflate": 47}  # 47: zlib or gzip, by its header


class HttpFetcher:
    def __init__(self, dialer: Dialer, total_seconds: float = _TOTAL_SECONDS) -> None:
        self._dialer, self._total_seconds = dialer, total_seconds

    def get(self, url: str, *, token: str | None = None, max_bytes: int) -> Fetched | None:
        until = time.monotonic() + self._total_seconds
        address = _parsed(url)
        for _ in range(_MAX_REDIRECTS + 1):
            with self._answer(address, _conditions(token, address), until) as response:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                    address = _parsed(_joined(address, location))
                    continue
                if response.status == 304:
                    return None
                _check_status(address, response)
                content = _read(address, response, max_bytes, until)
                return Fetched(str(address), content, response.headers.get("Content-Type"), _token(address, response))
        raise Invalid(f"{url} redirects more than {_MAX_REDIRECTS} times.", hint="Give the address that it leads to.")

    @contextmanager
    def _answer(
        self, address: httpx.URL, headers: Mapping[str, str], until: float
    ) -> Iterator[http.client.HTTPResponse]:
        with self._connection(address, until) as connection:
            try:
                connection.request("GET", address.raw_path.decode("ascii"), headers=_headers(address, headers))
                with connection.getresponse() as response:
                    yield response
            except PegasusError:
                raise
            except (OSError, http.client.HTTPException) as error:
                _left(address, until)
                raise Unavailable(
                    f"{address} broke off: {type(error).__name__} {error}.", hint="Try again later."
                ) from error

    @contextmanager
    def _connection(self, address: httpx.URL, until: float) -> Iterator[http.client.HTTPConnection]:
        host, port = address.raw_host.decode("ascii").strip("[]"), address.port or _PORTS[address.scheme]
        dialled = self._dialer.connect(host, port, _PORTS.values(), min(_SILENT_SECONDS, _left(address, until)))
        connection = http.client.HTTPConnection(host, port)
        # However slowly it comes, a byte at a time or in endless headers: then the connection is cut.
        sockets = [dialled]
        watch = threading.Timer(_left(address, until), _cut, [sockets])
        watch.start()
        try:
            if address.scheme == "https":
                secured = self._tls.wrap_socket(dialled, server_hostname=host, do_handshake_on_connect=False)
                sockets.append(secured)
                secured.do_handshake()
            connection.sock = sockets[-1]
            yield connection
        except ssl.SSLError as error:
            raise Unavailable(f"{address} is not safely reached: {error}.", hint="Check its certificate.") from error
        except OSError as error:
            raise Unavailable(f"{address} broke off: {error}.", hint="Try again later.") from error
        finally:
            watch.cancel()
            for each in sockets:
                each.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _left(address: httpx.URL, until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise Unavailable(f"Fetching {address} took too long.", hint="Try again later.")
    return left


def _cut(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):  # It may have ended by itself.
            # Below TLS, whose own goodbye would wait for the other side.
            socket.socket.shutdown(each, socket.SHUT_RDWR)


def _parsed(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise Invalid(f"{url[:200]!r} is no URL: {error}.", hint="Check the address.") from error
    if address.scheme not in _PORTS or not address.host:
        raise Invalid(f"{url[:200]!r} is not fetched: only http and https are.", hint="Check the address.")
    if address.userinfo:
        raise Invalid("The URL has a user or password in it.", hint="Leave them out.")
    return address.copy_with(fragment=None)


def _joined(address: httpx.URL, location: str) -> str:
    try:
        # http.client decodes headers as Latin-1, while servers send UTF-8.
        return str(address.join(location.encode("latin-1").decode("utf-8", "replace")))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise Invalid(
            f"{address} redirects to {location[:200]!r}, which is no URL.", hint="Check the address."
        ) from error


def _headers(address: httpx.URL, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "Host": address.netloc.decode("ascii"),
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "gzip",
        "Connection": "close",
        **more,
    }


def _conditions(token: str | None, address: httpx.URL) -> dict[str, str]:
    """What was said of the version that is here; it is only told to the address that said it."""
    known = json.loads(token) if token else {}
    if known.get("url") != str(address):
        return {}
    names = {"etag": "If-None-Match", "modified": "If-Modified-Since"}
    return {names[name]: value for name, value in known.items() if name in names and value}


def _token(address: httpx.URL, response: http.client.HTTPResponse) -> str:
    etag, modified = (response.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    # They are sent back as they came, so that only what may stand in a header is kept.
    etag, modified = (value if value.isascii() and value.isprintable() else "" for value in (etag, modified))
    return json.dumps({"url": str(address), "etag": etag, "modified": modified})


def _check_status(address: httpx.URL, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status == 200:
        return
    if status in (404, 410):
        raise NotFound(f"{address} is gone: it answered {status}.", hint="Check the address.")
    if status in (408, 425, 429) or status >= 500:
        raise Unavailable(f"{address} answered {status}.", hint="Try again later.")
    raise Invalid(f"{address} answered {status}.", hint="Check that it may be read by everybody.")


def _read(address: httpx.URL, response: http.client.HTTPResponse, max_bytes: int, until: float) -> IO[bytes]:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise Unreadable(f"{address} is sent in the encoding {encoding[:40]!r}, which was not asked for.")
    content = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - it is the caller's to close.
    try:
        size = 0
        for block in _decoded(address, response, _ENCODINGS[encoding]):
            size += len(block)
            _check_size(address, size, max_bytes)
            content.write(block)
        _left(address, until)  # What was cut off in time may look like an end.
        content.seek(0)
    except BaseException:
        content.close()
        raise
    return cast("IO[bytes]", content)


def _check_size(address: httpx.URL, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"{address} is larger than {max_bytes:,} bytes.", hint="Leave it out.")


def _decoded(address: httpx.URL, response: http.client.HTTPResponse, window_bits: int | None) -> Iterator[bytes]:
    """Blocks of at most ``_BLOCK`` bytes, however much more is packed into what came."""
    unpack = zlib.decompressobj(window_bits) if window_bits else None
    while received := response.read(_BLOCK):
        if unpack is None:
            yield received
            continue
        try:
            while received and not unpack.eof:
                yield unpack.decompress(received, _BLOCK)
                received = unpack.unconsumed_tail
        except zlib.error as error:
            raise Unreadable(f"{address} is not the gzip that it says it is: {error}.") from error
    if response.length:  # It promised more, and http.client does not mind.
        raise Unavailable(f"{address} broke off before its end.", hint="Try again later.")
    if unpack and not unpack.eof:
        raise Unavailable(f"{address} broke off before its end.", hint="Try again later.")
