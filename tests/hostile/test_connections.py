"""Requests that no HTTP library would send: slow, endless, split, doubled; each costs its sender and nobody else."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from calls import send_raw

from pegasus import api, connections
from pegasus.application import Application

JSON = {"Content-Type": "application/json"}


@contextmanager
def connection(address: str) -> Iterator[socket.socket]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as made:
        yield made


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    answer = b""
    try:
        while block := connection.recv(65536):
            answer += block
    except ConnectionResetError:
        pass
    return answer


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_three_hundred_slow_clients_do_not_stop_the_others(address: str, http: httpx.Client) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connection(address)) for _ in range(300)]
        for number, one in enumerate(slow):
            one.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n" if number % 2 else b"G")
        for one in slow[:20]:
            one.sendall(b"X")
            assert http.get("/health").elapsed.total_seconds() < 10
        assert http.post("/v1/search", json={"query": "words"}).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: a"])
def test_a_request_that_never_begins_or_ends_is_given_up(
    address: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with connection(address) as slow:
        slow.sendall(sent)
        assert b" 400 " in received(slow).splitlines()[0]


def test_a_second_request_on_the_same_connection_is_given_up_too(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with connection(address) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHo")
        answer = received(slow)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" in answer


def test_a_byte_now_and_then_does_not_prolong_the_headers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that did prolong them would do so until the loop below ends."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    with connection(address) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        begun = time.monotonic()
        slow.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - begun < 30:
            try:
                slow.sendall(b"a")
                answer = slow.recv(1000)
            except TimeoutError:
                continue
        assert b" 400 " in answer


def test_a_body_that_stops_is_a_408(http: httpx.Client, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "SILENCE_SECONDS", 0.3)
    key = http.headers["x-api-key"].encode()
    for content_type in (b"application/json", b"multipart/form-data; boundary=b"):
        with connection(address) as slow:
            slow.sendall(b"POST /v1/documents HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\nContent-Type: %s\r\n"
                         b"Content-Length: 100\r\n\r\n--b\r\n" % (key, content_type))  # fmt: skip
            assert slow.recv(65536).startswith(b"HTTP/1.1 408"), content_type


@pytest.mark.parametrize(
    "piece", [b"X-Header: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["many headers", "one header"]
)
def test_headers_without_an_end_are_cut_off_and_not_kept(address: str, piece: bytes) -> None:
    before = resident_bytes()
    with connection(address) as endless:
        endless.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        try:
            for _ in range(100):
                endless.sendall(piece * 1000)
            answer = received(endless)
        except (BrokenPipeError, ConnectionResetError):
            answer = b"HTTP/1.1 400"
    assert answer.startswith(b"HTTP/1.1 400") or not answer
    assert resident_bytes() - before < 50 * 2**20, "100 MB were sent"


# Two ways to say how long a body is, and two readers that believe different ones, make a smuggled request.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: 1\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n",
        b"Content-Length: 5\r\nContent-Length: 60\r\n",
        b"Content-Length: 5, 60\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
        b" Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: y\rTransfer-Encoding: chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"X\0: y\r\n",
        b": empty\r\n",
    ],
)
def test_a_body_of_two_lengths_hides_no_second_request(address: str, headers: bytes) -> None:
    request = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n" + CHUNKED
    answer = send_raw(address, request)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 413")), answer[:100]
    assert b"/smuggled" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-0,-1,99999999999999999999-\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nExpect: 200-maybe\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTE: trailers, x;q=9\r\nAccept-Encoding: " + b"gzip," * 5_000
        + b"\r\nConnection: close\r\n\r\n",
        b"GET http://elsewhere.invalid/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /health?" + b"&a=%00" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a=b; " * 10_000 + b"\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n",
    ],
)  # fmt: skip
def test_an_odd_but_proper_request_is_answered_in_full(address: str, request_bytes: bytes) -> None:
    answer = send_raw(address, request_bytes)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    assert answer.endswith(b"}")


# Starlette leaves the file of a form without an end to the garbage collector, which closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 5_000 + b"--b--", "boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' * 50 + b"--b--", "boundary=b"),
        (b"--b\r\n" + b"X-Header: y\r\n" * 50_000 + b"\r\n--b--", "boundary=b"),
        (b"--b\r\nContent-Disposition: form-data; name=" + b"a" * 5_000_000 + b"\r\n\r\n--b--", "boundary=b"),
        (b"--b\r\nContent-Disposition: form-data; name=tags\r\n\r\n" + b"a" * 5_000_000 + b"\r\n--b--", "boundary=b"),
        (b"-" * 1_000_000, "boundary=b"),
        (b"\r\n" * 500_000, "boundary=b"),
        (b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nno end", "boundary=b"),
        (b"--b--", "boundary=b"),
        (b"--b\r\n", ""),
        (b"--b\r\n", "boundary="),
        (b"--b\r\n", "boundary=" + "b" * 10_000),
        (b"--\xff\r\n", "boundary=\xff"),
    ],
    ids=["5,000 fields", "50 files", "50,000 headers", "long name", "long field", "dashes", "line ends", "no end",
         "no part", "no boundary", "empty boundary", "long boundary", "odd boundary"],
)  # fmt: skip
def test_a_form_meant_to_hurt_is_refused_at_once(http: httpx.Client, body: bytes, content_type: str) -> None:
    headers = {"Content-Type": f"multipart/form-data;{content_type}".encode("latin-1")}
    answer = http.post("/v1/documents", content=body, headers=headers)
    assert answer.status_code in (400, 413, 422), answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.elapsed.total_seconds() < 10


@pytest.mark.parametrize(
    "path",
    [
        "/v1/documents?limit=99999999999999999999", "/v1/documents?limit=1e3", "/v1/documents?limit=-0",
        "/v1/documents?limit=%D9%A3", "/v1/jobs?state=%00", "/v1/graph/entities?q=%00",
        "/v1/documents/0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1/content?version=99999999999999999999999",
        "/v1/documents/0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1/content?version=-1",
        "/v1/documents/0198C3F2-6D3E-7C41-9B3A-0C1DE87CD9D1", "/v1/documents/%00", "/v1/documents/..%2f..%2fkeys",
        "/v1/documents/%EF%BC%90198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1", "/v1/jobs/" + "9" * 10_000, "/v1/jobs/%0d%0aX:1",
        "/v1//documents", "/V1/documents", "/v1/documents/;/x", "/%2e%2e/%2e%2e/etc/passwd",
    ],
)  # fmt: skip
def test_a_number_an_id_or_a_path_that_means_nothing_is_the_callers_error(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code in (404, 422)


@pytest.mark.parametrize("path", ["//v1/documents", "/./v1/documents", "/v1/../v1/documents", "/v1%2fdocuments",
                                  "/V1/documents", "/v1/documents/", "/%76%31/documents", "/v1;/documents"])  # fmt: skip
def test_no_way_of_writing_a_path_leads_in_without_a_key(address: str, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    assert send_raw(address, request).split(b" ", 2)[1] in (b"401", b"404", b"307")


def test_the_server_still_stands(application: Application, http: httpx.Client) -> None:
    assert http.get("/ready").json()["ready"]
