"""Fetching from strangers: each hop is checked, sizes are counted, time is limited, TLS is verified."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from origins import CERTIFICATE, Site, redirect, respond, secure_site, web_site

from pegasus.adapters.guarded_dialer import GuardedDialer
from pegasus.adapters.http_fetcher import HttpFetcher
from pegasus.errors import Invalid, NotFound, PegasusError, TooLarge, Unavailable, Unreadable

MOST = 100_000


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as made:
        yield made


def content_of(fetcher: HttpFetcher, url: str, max_bytes: int = MOST) -> bytes:
    fetched = fetcher.get(url, max_bytes=max_bytes)
    assert fetched
    with fetched.content as stream:
        return stream.read()


def fetcher_for(site: Site, total_seconds: float = 20) -> HttpFetcher:
    return HttpFetcher(GuardedDialer([site.address.removeprefix("http://")]), total_seconds)


def test_a_page_is_fetched_once_for_each_of_its_versions(site: Site) -> None:
    site.text("/", "Title", "One.")
    fetcher = fetcher_for(site)
    first = fetcher.get(site.url("/"), max_bytes=MOST)
    assert first
    with first.content as stream:
        assert b"One." in stream.read()
    assert first.content_type == "text/html; charset=utf-8"
    assert fetcher.get(site.url("/"), token=first.token, max_bytes=MOST) is None
    site.text("/", "Title", "Two.")
    second = fetcher.get(site.url("/"), token=first.token, max_bytes=MOST)
    assert second
    with second.content as stream:
        assert b"Two." in stream.read()


def test_what_one_address_said_of_its_version_is_not_told_to_another(site: Site) -> None:
    site.text("/a", "Title", "Same.")
    site.text("/b", "Title", "Same.")
    fetcher = fetcher_for(site)
    first = fetcher.get(site.url("/a"), max_bytes=MOST)
    assert first
    first.content.close()
    second = fetcher.get(site.url("/b"), token=first.token, max_bytes=MOST)
    assert second
    second.content.close()


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:1/", "http://[::1]/", "http://2130706433/",
     "http://[::ffff:10.0.0.1]/", "http://0x7f.1/", "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.org/",
     "//127.1:22/", "http://user:pass@example.org/"],
)  # fmt: skip
def test_a_redirect_leads_nowhere_that_its_target_may_not_be(site: Site, target: str) -> None:
    site.answers["/"] = redirect(target)
    with pytest.raises(Invalid):
        fetcher_for(site).get(site.url("/"), max_bytes=MOST)


@pytest.mark.parametrize("target", ["http://[/", "http://exa mple/", "http://\x00/", "http://:80:80/", "/\r\nX: y"])
def test_a_redirect_to_nonsense_is_an_error_for_a_person(site: Site, target: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: " + target.encode() + b"\r\nContent-Length: 0\r\n\r\n")

    site.answers["/"] = answer
    with pytest.raises(PegasusError):
        fetcher_for(site).get(site.url("/"), max_bytes=MOST)


def test_five_redirects_are_followed_and_six_are_not(site: Site) -> None:
    site.text("/0", "Title", "There.")
    for number in range(1, 7):
        site.answers[f"/{number}"] = redirect(f"/{number - 1}")
    fetched = fetcher_for(site).get(site.url("/5"), max_bytes=MOST)
    assert fetched
    assert fetched.url == site.url("/0")
    fetched.content.close()
    with pytest.raises(Invalid, match="redirects"):
        fetcher_for(site).get(site.url("/6"), max_bytes=MOST)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/x", "http://", "http:///x", "http://u:p@example.org/", "//x", "x",
            "http://[::1", "http://example.org:99999/"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(site: Site, url: str) -> None:
    with pytest.raises(Invalid):
        fetcher_for(site).get(url, max_bytes=MOST)


@pytest.mark.parametrize(
    ("status", "family"),
    [(404, NotFound), (410, NotFound), (401, Invalid), (403, Invalid), (400, Invalid), (429, Unavailable),
     (500, Unavailable), (503, Unavailable), (206, Invalid), (204, Invalid)],
)  # fmt: skip
def test_a_status_says_whether_it_is_gone_or_worth_another_try(
    site: Site, status: int, family: type[PegasusError]
) -> None:
    site.answers["/"] = lambda request: respond(request, status)
    with pytest.raises(family):
        fetcher_for(site).get(site.url("/"), max_bytes=MOST)


def sends(content: bytes, **headers: str) -> object:
    return lambda request: respond(request, 200, content, {k.replace("_", "-"): v for k, v in headers.items()})


def test_what_is_packed_is_unpacked(site: Site) -> None:
    for path, packed, encoding in (("/g", gzip.compress, "gzip"), ("/d", zlib.compress, "deflate")):
        site.answers[path] = sends(packed(b"text " * 1000), Content_Encoding=encoding)
        assert content_of(fetcher_for(site), site.url(path)) == b"text " * 1000


def test_what_is_too_large_is_cut_off_as_soon_as_it_shows(site: Site) -> None:
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        while sent < 2**30:
            sent += request.wfile.write(b"x" * 65536)

    site.answers["/"] = endless
    with pytest.raises(TooLarge):
        fetcher_for(site).get(site.url("/"), max_bytes=MOST)
    assert sent < 2**26


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_never_unpacked_whole(site: Site, layers: int) -> None:
    bomb = b"\0" * 2**28
    for _ in range(layers):
        bomb = gzip.compress(bomb)
    site.answers["/"] = sends(bomb, Content_Encoding="gzip")
    begun = time.monotonic()
    if layers == 1:
        with pytest.raises(TooLarge):
            fetcher_for(site).get(site.url("/"), max_bytes=MOST)
    else:  # Only what the transport says is packed is unpacked.
        assert len(content_of(fetcher_for(site), site.url("/"), 2**20)) < 2**20
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "x" * 500])
def test_an_encoding_that_was_not_asked_for_is_refused(site: Site, encoding: str) -> None:
    site.answers["/"] = sends(b"text", Content_Encoding=encoding)
    with pytest.raises(Unreadable):
        fetcher_for(site).get(site.url("/"), max_bytes=MOST)


def test_what_breaks_off_or_is_damaged_is_not_taken_for_the_whole(site: Site) -> None:
    packed = gzip.compress(b"text " * 10_000)
    site.answers["/short"] = sends(b"text", Content_Length="400")
    site.answers["/cut"] = sends(packed[: len(packed) // 2], Content_Encoding="gzip")
    site.answers["/bad"] = sends(packed[:20] + b"\xff" * 50, Content_Encoding="gzip")
    for path in ("/short", "/cut", "/bad"):
        with pytest.raises((Unavailable, Unreadable)):
            fetcher_for(site).get(site.url(path), max_bytes=MOST)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_is_left_in_time(site: Site, part: str) -> None:
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if part == "body" else b""))
        while not over.wait(0.05):
            request.wfile.write(b"x" if part == "body" else b"X: y\r\n"[:1])
            request.wfile.flush()

    site.answers["/"] = drip
    begun = time.monotonic()
    try:
        with pytest.raises(Unavailable):
            fetcher_for(site, total_seconds=0.6).get(site.url("/"), max_bytes=MOST)
        assert time.monotonic() - begun < 20
    finally:
        over.set()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
                                    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**6, b"HTTP/1.1 200 OK\r\n"
                                    b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nno\r\n"])  # fmt: skip
def test_an_answer_that_is_no_http_is_an_error_for_a_person(site: Site, answer: bytes) -> None:
    site.answers["/"] = lambda request: request.wfile.write(answer) and None
    with pytest.raises(Unavailable):
        fetcher_for(site).get(site.url("/"), max_bytes=MOST)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Site]:
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(CERTIFICATE)
    with secure_site(certificate) as made:
        made.text("/", "Title", "Safe.")
        yield made


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Site) -> None:
    with pytest.raises(Unavailable, match="safely"):
        content_of(HttpFetcher(GuardedDialer(["localhost"])), secure.url("/"))
    assert secure.requests == []


def test_a_certificate_is_for_the_name_in_the_url(
    secure: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    fetcher = HttpFetcher(GuardedDialer(["localhost", "127.0.0.1"]))
    assert b"Safe." in content_of(fetcher, secure.url("/"))
    with pytest.raises(Unavailable, match="safely"):
        content_of(fetcher, secure.url("/").replace("localhost", "127.0.0.1"))
    assert len(secure.requests) == 1
