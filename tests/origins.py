"""What sources are made of in the tests: real servers on loopback, a web site, a bucket and a mailbox."""

from __future__ import annotations

import hashlib
import hmac
import imaplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """A web server whose pages a test sets; it answers with an ETag, and 304 to who has that version."""

    address: str
    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # path -> content type, content
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)  # path, status

    def url(self, path: str) -> str:
        return f"{self.address}{path}"

    def text(self, path: str, title: str, text: str) -> None:
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>"
        self.pages[path] = ("text/html; charset=utf-8", page.encode())

    def answered(self, status: int) -> int:
        return sum(1 for _, answered in self.requests if answered == status)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        if path in self.answers:
            self.requests.append((path, 0))
            self.answers[path](request)
            return
        if path not in self.pages:
            self.requests.append((path, 404))
            respond(request, 404)
            return
        content_type, content = self.pages[path]
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        status = 304 if request.headers.get("If-None-Match") == etag else 200
        self.requests.append((path, status))
        respond(request, status, content if status == 200 else b"", {"Content-Type": content_type, "ETag": etag})


def respond(
    request: BaseHTTPRequestHandler, status: int, content: bytes = b"", headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)


def redirect(to: str) -> Answer:
    return lambda request: respond(request, 302, headers={"Location": to})


@contextmanager
def _serving(answer: Answer, certificate: Path | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):  # The fetcher may hang up on what it does not like.
                answer(self)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A handshake that the fetcher breaks off is what the test is about."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_site() -> Iterator[Site]:
    site = Site("")
    with _serving(site.answer) as address:
        site.address = address
        yield site


ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION = "AKIDPEGASUS", "s3cret-never-to-be-seen", "eu-test-1"


@dataclass
class Bucket:
    """S3 as far as a reader needs it: signed requests, ListObjectsV2 in pages of two, GET of an object."""

    address: str
    name: str = "notes"
    objects: dict[str, bytes] = field(default_factory=dict)
    listed: int = 0
    fetched: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        if not _is_signed(request):
            respond(request, 403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            return
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        key = unquote(parts.path).removeprefix(f"/{self.name}").lstrip("/")
        if not unquote(parts.path).startswith(f"/{self.name}"):
            respond(request, 404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif query.get("list-type") == "2":
            respond(request, 200, self._list(query), {"Content-Type": "application/xml"})
        elif key in self.objects:
            self.fetched.append(key)
            facts = {"ETag": self._etag(key), "Last-Modified": "Mon, 23 Nov 2026 09:00:00 GMT"}
            respond(request, 200, self.objects[key], {"Content-Type": "text/markdown", **facts})
        else:
            respond(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _etag(self, key: str) -> str:
        return f'"{hashlib.md5(self.objects[key]).hexdigest()}"'

    def _list(self, query: dict[str, str]) -> bytes:
        self.listed += 1
        after = query.get("continuation-token", "")
        keys = sorted(key for key in self.objects if key.startswith(query.get("prefix", "")) and key > after)
        shown, more = keys[:2], len(keys) > 2
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-23T09:00:00.000Z</LastModified>"
            f"<ETag>{escape(self._etag(key))}</ETag><Size>{len(self.objects[key])}</Size></Contents>"
            for key in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        return (
            f'<?xml version="1.0"?><ListBucketResult><Name>{self.name}</Name><KeyCount>{len(shown)}</KeyCount>'
            f"<MaxKeys>2</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>"
        ).encode()


def _is_signed(request: BaseHTTPRequestHandler) -> bool:
    """AWS Signature Version 4, computed again from the request."""
    authorization = request.headers.get("Authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return False
    given = dict(part.strip().split("=", 1) for part in authorization.partition(" ")[2].split(","))
    key_id, scope = given["Credential"].split("/", 1)
    parts, names = urlsplit(request.path), given["SignedHeaders"].split(";")
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
    path = quote(unquote(parts.path), safe="/-_.~")
    canonical = "\n".join(
        [request.command, path, query, headers, given["SignedHeaders"], request.headers["x-amz-content-sha256"]]
    )
    signed = "\n".join(
        ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    secret = f"AWS4{SECRET_ACCESS_KEY}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    wanted = hmac.new(secret, signed.encode(), "sha256").hexdigest()
    return key_id == ACCESS_KEY_ID and hmac.compare_digest(wanted, given["Signature"])


@contextmanager
def bucket() -> Iterator[Bucket]:
    made = Bucket("")
    with _serving(made.answer) as address:
        made.address = address
        yield made


# Of localhost and of nobody else, made for these tests, and signed by itself: openssl req -x509 -newkey ec ...
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWPqnkFTNSHC25vAD
Cf1IupP6cMvxrizxNo3d79adGPWhRANCAAS9FvbOFJoHd9M77l4y+ns+7p7LHkyo
rNdKwgUSU2iab2g2BeThleB3pY3W9p+K3of6bUiSzoD0t0GhJEzQKb3b
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUB45Yd+FVf0ZXF6QsLgq53UHIxP4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA5MzQwMloYDzIxMjYxMDMw
MDkzNDAyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS9FvbOFJoHd9M77l4y+ns+7p7LHkyorNdKwgUSU2iab2g2BeThleB3
pY3W9p+K3of6bUiSzoD0t0GhJEzQKb3bo2kwZzAdBgNVHQ4EFgQU8TnEA62HJ7XC
CZef5yS7jcuAcX4wHwYDVR0jBBgwFoAU8TnEA62HJ7XCCZef5yS7jcuAcX4wFAYD
VR0RBA0wC4IJbG9jYWxob3N0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
SAAwRQIgeJJ4HhIB1K0KjGuqAJ6KbZDT68ffQCMSnN9GvGkYbwICIQDdZ/Fnuhea
zWa7urneACUSNWN7pU5fAmetazJypdL1rQ==
-----END CERTIFICATE-----
"""


@contextmanager
def secure_site(certificate: Path) -> Iterator[Site]:
    """A web site at https://localhost; ``certificate`` is a file with ``CERTIFICATE``."""
    site = Site("")
    with _serving(site.answer, certificate) as address:
        site.address = address
        yield site


USER, PASSWORD = "reader", "p4ssword-never-to-be-seen"


@dataclass
class Mailbox:
    port: int

    def act(self, *commands: Callable[[imaplib.IMAP4], object]) -> None:
        connection = imaplib.IMAP4("127.0.0.1", self.port)
        connection.login(USER, PASSWORD)
        for command in commands:
            command(connection)
        connection.logout()

    def deliver(self, *messages: bytes, folder: str = "INBOX") -> None:
        self.act(*(lambda c, m=message: c.append(folder, None, None, m) for message in messages))

    def delete(self, subject: str) -> None:
        def expunge(connection: imaplib.IMAP4) -> None:
            connection.select("INBOX")
            for uid in connection.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].split():
                connection.uid("STORE", uid.decode(), "+FLAGS", r"(\Deleted)")
            connection.expunge()
            connection.close()

        self.act(expunge)

    def unseen(self) -> int:
        found: list[int] = []

        def look(connection: imaplib.IMAP4) -> None:
            connection.select("INBOX", readonly=True)
            found.append(len(connection.uid("SEARCH", "UNSEEN")[1][0].split()))

        self.act(look)
        return found[0]


def message(subject: str, text: str) -> bytes:
    head = f"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: {subject}\r\n"
    head += f"Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{subject.replace(' ', '.')}@example.org>\r\n"
    return f"{head}\r\n{text}\r\n".encode()


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """pymap, an IMAP server, with one empty account in its memory."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-tls", "--no-service", "managesieve"]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("pymap"), *options, "dict", "--demo-user", USER, "--demo-password", PASSWORD],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Mailbox(port)
    finally:
        process.terminate()
        process.wait(10)
