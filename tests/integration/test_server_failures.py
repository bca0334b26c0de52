"""What the adapters of servers do when these are silent, cut off, restarted, busy with others or of another version."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from proxies import answering, proxy_to, respond, silent_server
from servers import (
    ACCESS_KEY_ID,
    PASSWORD,
    REGION,
    SECRET_ACCESS_KEY,
    BoltServer,
    S3Server,
    bolt_server,
    chroma_server,
)  # fmt: skip

from pegasus.adapters import bolt as bolt_adapter
from pegasus.adapters import chroma_server as chroma_adapter
from pegasus.adapters.bolt import BoltGraphStore
from pegasus.adapters.chroma_server import ChromaServerVectorStore
from pegasus.adapters.neptune_signature import NeptuneSignatures
from pegasus.adapters.s3_files import S3FileStore
from pegasus.domain import Entity
from pegasus.errors import Misconfigured, NotFound, Unavailable
from pegasus.identifiers import new_id
from pegasus.ports import GraphContents, GraphPassage

pytestmark = pytest.mark.embedded("it is about adapters, with servers of its own")

VECTOR = np.eye(1, 8, dtype=np.float32)


def seconds_of(call: Callable[[], object]) -> float:
    """How long it takes until the call gives up with ``Unavailable``."""
    begun = time.monotonic()
    with pytest.raises(Unavailable) as raised:
        call()
    assert raised.value.hint
    return time.monotonic() - begun


# --- Bolt


def opened(server: BoltServer, database: str | None = None) -> closing[BoltGraphStore]:
    return closing(BoltGraphStore(server.address, ("root", PASSWORD), database=database or server.new_database()))


def test_a_graph_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bolt_adapter, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(bolt_adapter, "_ACQUIRE_SECONDS", 0.5)
    with silent_server() as port, closing(BoltGraphStore(f"bolt://127.0.0.1:{port}", None)) as store:
        assert seconds_of(store.ping) < 20


@pytest.mark.server
def test_a_graph_server_that_falls_silent_or_is_killed_is_used_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bolt_adapter, "_CALL_SECONDS", 4.0)
    with bolt_server(tmp_path / "bolt") as server, opened(server) as store:
        store.upsert_documents("w", {"d": "Title"})
        server.process.send(signal.SIGSTOP)
        assert seconds_of(lambda: store.upsert_documents("w", {"e": "Other"})) < 20
        server.process.send(signal.SIGCONT)
        store.upsert_documents("w", {"e": "Other"})
        assert store.existing("w", "Document", ["d", "e"]) == {"d", "e"}
        server.process.kill()
        assert seconds_of(store.ping) < 20
        assert seconds_of(lambda: list(store.facts("w"))) < 20
        server.process.start()
        assert store.existing("w", "Document", ["d", "e"]) == {"d", "e"}
        assert len(list(store.facts("w"))) == 2


def test_a_connection_that_is_never_heard_of_again_does_not_keep_its_thread(
    bolt: BoltServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bolt_adapter, "_CALL_SECONDS", 2.0)
    monkeypatch.setattr(bolt_adapter, "_THREADS", 1)
    with proxy_to(bolt.port) as proxy:
        store = BoltGraphStore(f"bolt://127.0.0.1:{proxy.port}", ("root", PASSWORD), database=bolt.new_database())
        with closing(store):
            store.upsert_documents("w", {"d": "Title"})
            proxy.hush()
            assert seconds_of(lambda: store.upsert_documents("w", {"e": "Other"})) < 20
            until = time.monotonic() + 30
            while True:  # Its thread is given back, and goes on with a connection of its own.
                try:
                    assert store.existing("w", "Document", ["d"]) == {"d"}
                except Unavailable:
                    assert time.monotonic() < until
                    time.sleep(0.1)
                else:
                    break


def test_connections_that_are_cut_in_a_transaction_are_made_again(bolt: BoltServer) -> None:
    """As a load balancer does with those that were idle, or a failover with all."""
    with proxy_to(bolt.port) as proxy:
        store = BoltGraphStore(f"bolt://127.0.0.1:{proxy.port}", ("root", PASSWORD), database=bolt.new_database())
        with closing(store):
            for n in range(5):
                store.upsert_documents("w", {f"d{n}": "Title"})
                proxy.cut()
            proxy.cut_after_bytes = 900  # In the middle of what is said.
            store.upsert_passages("w", [Entity("e", "E", "name")], [GraphPassage("p", "d1", ["e"])])
            assert store.mentioning("w", ["e"], 10) == [("p", 1)]
            assert sorted(store.node_ids("w", "Document")) == [f"d{n}" for n in range(5)]


def test_many_that_write_the_same_nodes_all_succeed(bolt: BoltServer) -> None:
    database = bolt.new_database()
    entities = [Entity(f"e{n}", f"Entity {n}", "name") for n in range(20)]

    def write(thread: int) -> None:
        with opened(bolt, database) as store:  # As processes of their own have.
            for n in range(5):
                store.upsert_documents("w", {"shared": f"Title {thread}", f"d{thread}": "Title"})
                passage = GraphPassage(f"p{thread}-{n}", "shared", [entity.id for entity in entities])
                store.upsert_passages("w", entities, [passage])
                store.set_links("w", {"shared": [f"d{thread}"]})

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(write, thread) for thread in range(6)]:
            future.result(100)
    with opened(bolt, database) as store:
        assert sorted(store.node_ids("w", "Entity")) == sorted(entity.id for entity in entities)
        assert len(list(store.node_ids("w", "Document"))) == 7
        assert store.mentioning("w", ["e3"], 100) == [(f"p{t}-{n}", 1) for t in range(6) for n in range(5)]


@pytest.mark.parametrize(("code", "tries"), [
    ("Neo.TransientError.Transaction.DeadlockDetected", 10),
    ("Neo.ClientError.Schema.ConstraintValidationFailed", 10),
    ("ConcurrentModificationException", 10),
    ("Neo.ClientError.Statement.SyntaxError", 1),
])  # fmt: skip
def test_a_conflict_is_tried_again_and_again_but_not_for_ever(
    bolt: BoltServer, monkeypatch: pytest.MonkeyPatch, code: str, tries: int
) -> None:
    from neo4j.exceptions import Neo4jError

    monkeypatch.setattr(bolt_adapter, "_BACKOFF_SECONDS", 0.001)
    tried = []

    def fail(_transaction: object) -> None:
        tried.append(1)
        raise Neo4jError._hydrate_neo4j(code=code, message="it met another one")

    with opened(bolt) as store:
        with pytest.raises(Unavailable, match="met another"):
            store._transact(fail)
        assert len(tried) == tries
        store.ping()


def test_what_a_killed_rebuild_left_in_a_server_is_gone_after_the_next(bolt: BoltServer) -> None:
    with opened(bolt) as store:
        store.upsert_documents("w", {"d": "Title"})
        store._fill("abandoned", GraphContents([("ghost", "w", "")], (), (), (), (), ()))
        assert list(store.node_ids("w", "Document")) == ["d"]
        store.rebuild(GraphContents([("new", "w", "")], (), (), (), (), ()))
        assert store._transact(lambda tx: tx.all("MATCH (n:Document) RETURN n.id")) == [("new",)]


def test_another_process_sees_a_rebuilt_graph_at_once(bolt: BoltServer) -> None:
    database = bolt.new_database()
    with opened(bolt, database) as one, opened(bolt, database) as other:
        one.upsert_documents("w", {"d": "Title"})
        assert other.existing("w", "Document", ["d"]) == {"d"}
        one.rebuild(GraphContents([("new", "w", "")], (), (), (), (), ()))
        assert other.existing("w", "Document", ["d", "new"]) == {"new"}


# --- Neptune's signatures


@dataclass
class Recorder:
    """As much of a Bolt 4.4 server as answers a driver, and writes down what it is told."""

    port: int = 0
    hellos: list[dict[str, Any]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)


@contextmanager
def recorder() -> Iterator[Recorder]:
    made = Recorder()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(20)  # The magic number and the versions that are offered.
            self.wfile.write(b"\x00\x00\x04\x04")
            with suppress(OSError, struct.error):
                while message := self._message():
                    self._answer(message)

        def _message(self) -> bytes:
            content = b""
            while size := struct.unpack(">H", self.rfile.read(2))[0]:
                content += self.rfile.read(size)
            return content

        def _answer(self, message: bytes) -> None:
            kind, rest = message[1], message[2:]
            success: dict[str, Any] = {}
            if kind == 0x01:  # HELLO
                made.hellos.append(_unpacked(rest)[0])
                success = {"server": "Neptune/test", "connection_id": "c1"}
            elif kind == 0x10:  # RUN
                made.queries.append(_unpacked(rest)[0])
                success = {"fields": ["1"]}
            elif kind == 0x3F:  # PULL
                success = {"has_more": False}
            elif kind == 0x02:  # GOODBYE
                return
            packed = b"\xb1\x70" + _packed(success)
            self.wfile.write(struct.pack(">H", len(packed)) + packed + b"\x00\x00")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

    with Server(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield made
        server.shutdown()


def _packed(value: Any) -> bytes:
    match value:
        case bool():
            return b"\xc3" if value else b"\xc2"
        case str():
            return bytes([0x80 + len(value)]) + value.encode()
        case list():
            return bytes([0x90 + len(value)]) + b"".join(map(_packed, value))
    return bytes([0xA0 + len(value)]) + b"".join(_packed(k) + _packed(v) for k, v in value.items())


def _unpacked(data: bytes) -> tuple[Any, bytes]:
    """PackStream's strings, maps, lists, numbers and nothing; the rest of the bytes."""
    mark, rest = data[0], data[1:]
    if mark >> 4 in (0x8, 0x9, 0xA):
        size, kind = mark & 0xF, mark >> 4
    elif mark in (0xD0, 0xD1):
        width = 1 << (mark - 0xD0)
        size, kind, rest = int.from_bytes(rest[:width], "big"), 0x8, rest[width:]
    else:
        width = {0xC9: 2, 0xCA: 4, 0xC8: 1}.get(mark, 0)
        return (None if mark == 0xC0 else mark), rest[width:]
    if kind == 0x8:
        return rest[:size].decode(), rest[size:]
    items = []
    for _ in range(size * (2 if kind == 0xA else 1)):
        item, rest = _unpacked(rest)
        items.append(item)
    return (dict(zip(items[::2], items[1::2], strict=True)) if kind == 0xA else items), rest


# Made for these tests, as AWS's documentation writes such.
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "session-token",
}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: datetime(2026, 11, 23, 12, tzinfo=UTC))


def signature(host: str) -> str:
    """Signature Version 4 of Neptune's request, written down from AWS's description of it."""
    import hmac

    listed = f"host:{host}\nx-amz-date:20261123T120000Z\nx-amz-security-token:session-token\n"
    names, nothing = "host;x-amz-date;x-amz-security-token", hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/opencypher\n\n{listed}\n{names}\n{nothing}"
    scope = "20261123/eu-west-1/neptune-db/aws4_request"
    text = f"AWS4-HMAC-SHA256\n20261123T120000Z\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{KEYS['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    made = hmac.new(key, text.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={names}, Signature={made}"


def neptune(port: int) -> closing[BoltGraphStore]:
    signatures = NeptuneSignatures(f"127.0.0.1:{port}", "eu-west-1").auth_manager()
    return closing(BoltGraphStore(f"bolt://127.0.0.1:{port}", signatures, neptune=True))


@pytest.mark.usefixtures("keys")
def test_neptune_is_asked_with_a_signature_and_never_for_a_schema() -> None:
    with recorder() as server, neptune(server.port) as store:
        store.upsert_documents("w", {"d": "Title"})
    hello = server.hellos[0]
    assert (hello["scheme"], hello["principal"], hello["realm"]) == ("basic", "username", "realm")
    host = f"127.0.0.1:{server.port}"
    assert json.loads(hello["credentials"]) == {
        "Authorization": signature(host), "X-Amz-Date": "20261123T120000Z", "X-Amz-Security-Token": "session-token",
        "Host": host, "HttpMethod": "GET",
    }  # fmt: skip
    assert server.queries
    assert not [query for query in server.queries if query.startswith("CREATE")]


@pytest.mark.usefixtures("keys")
def test_a_signature_is_renewed_with_the_credentials_of_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role's keys change every few hours, a signature is good for minutes."""
    monkeypatch.setattr("pegasus.adapters.neptune_signature._SIGNED_FOR_SECONDS", 0.2)
    with recorder() as server, neptune(server.port) as store:
        store.ping()
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: datetime(2026, 11, 23, 13, tzinfo=UTC))
        time.sleep(0.3)
        store.ping()
    dates = [json.loads(hello["credentials"])["X-Amz-Date"] for hello in server.hellos]
    assert dates[0] == "20261123T120000Z"
    assert dates[-1] == "20261123T130000Z"


def test_the_keys_of_a_role_are_taken_anew_for_a_signature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pegasus.adapters.neptune_signature._SIGNED_FOR_SECONDS", 0.2)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    given = itertools.count(1)

    def answer(request: BaseHTTPRequestHandler) -> None:
        role = {"AccessKeyId": f"AKIAROLE{next(given)}", "SecretAccessKey": "secret", "Token": "session"}
        ends = datetime.now(UTC) + timedelta(minutes=1)  # So near that they are asked for again.
        respond(request, 200, json.dumps({**role, "Expiration": ends.isoformat()}).encode())

    with answering(answer) as url, recorder() as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        with neptune(server.port) as store:
            time.sleep(0.3)
            store.ping()
    used = [json.loads(hello["credentials"])["Authorization"].split("/")[0] for hello in server.hellos]
    assert used[0] != used[-1]
    assert all(key.startswith("AWS4-HMAC-SHA256 Credential=AKIAROLE") for key in used)


def test_without_credentials_neptune_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with recorder() as server, pytest.raises(Misconfigured, match="credentials"):
        neptune(server.port)


# --- Chroma


def test_a_vector_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_adapter, "_ASKING_TIMEOUT", httpx.Timeout(0.3))
    with silent_server() as port, closing(ChromaServerVectorStore(f"http://127.0.0.1:{port}")) as store:
        assert seconds_of(store.ping) < 20


def test_a_vector_server_that_falls_silent_or_is_killed_is_used_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_TIMEOUT", "_ASKING_TIMEOUT"):
        monkeypatch.setattr(chroma_adapter, name, httpx.Timeout(1.0))
    with chroma_server(tmp_path / "chroma") as server, closing(ChromaServerVectorStore(server.url)) as store:
        store.upsert("w", ["a"], VECTOR)
        server.process.send(signal.SIGSTOP)
        assert seconds_of(lambda: store.query("w", VECTOR[0], 1)) < 20
        server.process.send(signal.SIGCONT)
        assert store.existing("w", ["a"]) == {"a"}
        server.process.kill()
        assert seconds_of(lambda: store.upsert("w", ["b"], VECTOR)) < 20
        server.process.start()
        assert store.existing("w", ["a", "b"]) == {"a"}
        store.upsert("w", ["b"], VECTOR)
        assert store.existing("w", ["a", "b"]) == {"a", "b"}


def test_another_process_sees_rebuilt_vectors_at_once_and_a_killed_rebuild_leaves_nothing(tmp_path: Path) -> None:
    with chroma_server(tmp_path / "chroma") as server:
        one, other = ChromaServerVectorStore(server.url), ChromaServerVectorStore(server.url)
        with closing(one), closing(other):
            other.upsert("w", ["a"], VECTOR)
            assert one.existing("w", ["a"]) == {"a"}
            one._make("w", "abandoned")
            one.rebuild([("w", ["b"], VECTOR)])
            assert other.existing("w", ["a", "b"]) == {"b"}
            other.upsert("w", ["c"], VECTOR)
            assert one.existing("w", ["a", "b", "c"]) == {"b", "c"}
            names = [collection["name"] for collection in one._call("GET", one._place, read=list)]
            assert len(names) == 2


def test_a_second_vector_server_on_a_directory_is_refused_and_a_killed_one_leaves_it_free(
    tmp_path: Path,
) -> None:
    with chroma_server(tmp_path / "chroma") as server, closing(ChromaServerVectorStore(server.url)) as store:
        store.upsert("w", ["a"], VECTOR)
        command = [sys.executable, "-m", "pegasus.vector_server", "--data", str(server.directory), "--port", "0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "is using" in second.stderr
        server.process.kill()
        server.process.start()
        assert store.existing("w", ["a"]) == {"a"}


@pytest.mark.parametrize(("status", "body", "told"), [
    (200, b'"0.5.23"', "version 0.5.23"),
    (200, b'"2.0.0"', "version 2.0.0"),
    (200, b"<html>", "does not answer as Chroma"),
    (404, b"Not Found", "does not answer as Chroma"),
    (401, b"", "does not answer as Chroma"),
])  # fmt: skip
def test_a_server_of_another_version_or_kind_is_told_at_start(status: int, body: bytes, told: str) -> None:
    with answering(lambda request: respond(request, status, body)) as url, pytest.raises(Misconfigured, match=told):
        ChromaServerVectorStore(url)


@pytest.mark.parametrize("body", [b'{"ids": [["a"', b"oops", b"", b"{}", b"[]", b'"yes"', b'{"id": "c", "ids": 7}'])
def test_vectors_that_come_cut_off_are_not_taken(body: bytes) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, 200, b'"1.0.0"' if request.path.endswith(("version", "heartbeat")) else body)

    with answering(answer) as url, closing(ChromaServerVectorStore(url)) as store, pytest.raises(Unavailable):
        store.query("w", VECTOR[0], 1)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_vector_server_in_trouble_is_unavailable(status: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        healthy = request.path.endswith(("version", "heartbeat"))
        respond(request, 200 if healthy else status, b'"1.0.0"' if healthy else b"trouble")

    with answering(answer) as url, closing(ChromaServerVectorStore(url)) as store:
        assert seconds_of(lambda: store.existing("w", ["a"])) < 20


# --- S3


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)


@contextmanager
def troubled(s3: S3Server, trouble: Callable[[BaseHTTPRequestHandler, int], bool]) -> Iterator[S3FileStore]:
    """A store whose requests pass through a proxy; ``trouble`` answers some of them itself, and says that it did."""
    count = 0

    def answer(request: BaseHTTPRequestHandler) -> None:
        nonlocal count
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        count += 1
        if trouble(request, count):
            return
        # The signature is of the host that the client named.
        with httpx.Client(timeout=30) as client:
            passed = client.request(
                request.command, s3.endpoint + request.path, content=body, headers=dict(request.headers.items())
            )
        request.send_response(passed.status_code)
        for name, value in passed.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                request.send_header(name, value)
        length = passed.headers["content-length"] if request.command == "HEAD" else len(passed.content)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(passed.content)

    with answering(answer) as endpoint:
        yield S3FileStore(s3.bucket, f"tests/{new_id()}", region=REGION, endpoint=endpoint, silence_seconds=3)


def whole(store: S3FileStore, key: str) -> bytes:
    with store.path(key) as path:
        return path.read_bytes()


@pytest.mark.usefixtures("credentials")
def test_a_service_that_stumbles_is_asked_again(s3: S3Server) -> None:
    checked: list[bool] = []

    def every_other(request: BaseHTTPRequestHandler, count: int) -> bool:
        if request.command == "PUT":
            checked.append("x-amz-checksum-sha256" in request.headers)
        if stumbles := count % 2 == 0:
            respond(request, 503, b"<Error><Code>SlowDown</Code></Error>")
        return stumbles

    content = bytes(range(256)) * 80_000  # In several parts.
    with troubled(s3, every_other) as store:
        key, sha256, size = store.put(new_id(), io.BytesIO(content), 10**9)
        assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content))
        assert whole(store, key) == content
        assert list(store.stored_keys()) == [key]
        store.delete(key)
        assert list(store.stored_keys()) == []
    assert len(checked) > 3
    assert all(checked)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("kind", ["error", pytest.param("slow", marks=pytest.mark.server), "closed"])
def test_a_service_that_fails_is_unavailable_and_keeps_no_half_of_a_file(s3: S3Server, kind: str) -> None:
    failing = threading.Event()

    def trouble(request: BaseHTTPRequestHandler, _count: int) -> bool:
        if not failing.is_set():
            return False
        if kind == "error":
            respond(request, 500, b"<Error><Code>InternalError</Code></Error>")
        elif kind == "slow":
            time.sleep(4)
            request.close_connection = True
        else:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
        return True

    with troubled(s3, trouble) as store:
        kept = store.put(new_id(), io.BytesIO(b"kept"), 100)[0]
        failing.set()
        assert seconds_of(lambda: store.put(new_id(), io.BytesIO(b"x" * 10_000_000), 10**9)) < 30
        assert seconds_of(lambda: whole(store, kept)) < 30
        assert seconds_of(lambda: list(store.stored_keys())) < 30
        assert seconds_of(lambda: store.delete(kept)) < 30
        assert seconds_of(store.ping) < 30
        failing.clear()
        assert list(store.stored_keys()) == [kept]
        assert whole(store, kept) == b"kept"


@pytest.mark.usefixtures("credentials")
def test_a_file_that_comes_cut_off_is_not_taken_for_the_whole(s3: S3Server) -> None:
    cut = threading.Event()

    def trouble(request: BaseHTTPRequestHandler, _count: int) -> bool:
        if not (cut.is_set() and request.command == "GET"):
            return False
        respond(request, 200, b"x" * 1000, length=5_000_000)
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True
        return True

    with troubled(s3, trouble) as store:
        key = store.put(new_id(), io.BytesIO(b"x" * 5_000_000), 10**9)[0]
        cut.set()
        assert seconds_of(lambda: whole(store, key)) < 30
        cut.clear()
        assert len(whole(store, key)) == 5_000_000


def test_the_credentials_may_be_those_of_a_tasks_role(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    asked: list[tuple[str, str | None]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/credentials":
            asked.append(("role", request.headers["Authorization"]))
            role = {"AccessKeyId": "AKIAROLE", "SecretAccessKey": "secret", "Token": "session"}
            respond(request, 200, json.dumps({**role, "Expiration": "2099-01-01T00:00:00Z"}).encode())
        else:
            asked.append((request.headers["X-Amz-Security-Token"], request.headers["Authorization"].split("/")[0]))
            respond(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")

    (tmp_path / "token").write_text("of-the-task")
    with answering(answer) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        S3FileStore("bucket", region=REGION, endpoint=url)
    assert asked == [("role", "of-the-task"), ("session", "AWS4-HMAC-SHA256 Credential=AKIAROLE")]


@pytest.mark.usefixtures("credentials")
def test_what_others_keep_in_the_bucket_is_neither_listed_nor_dropped(s3: S3Server) -> None:
    import obstore

    place = f"tests/{new_id()}"
    store = S3FileStore(s3.bucket, place, region=REGION, endpoint=s3.endpoint)
    workspace_id = new_id()
    key = store.put(workspace_id, io.BytesIO(b"ours"), 100)[0]
    for other in (f"{workspace_id}/notes.txt", "report.pdf"):
        obstore.put(store._store, other, b"theirs")
    assert list(store.stored_keys()) == [key]
    store.drop(workspace_id)
    assert sorted(entry["path"] for page in obstore.list(store._store) for entry in page) == [
        "report.pdf" if n else f"{workspace_id}/notes.txt" for n in range(2)
    ]
    with pytest.raises(NotFound), store.path("report.pdf"):
        pass
