"""The servers of the server tier, from wheels: each in a process of its own on loopback, with files that go away.

Where one cannot be started the tests that need it are skipped, loudly; with CI set in the environment they fail.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pegasus.identifiers import new_id

START_SECONDS = 90
PASSWORD = "pässword-never-to-be-seen"


def needs(module: str, what: str) -> None:
    """Skip where a wheel of the extra ``test`` is not installed; fail where it has to be."""
    if importlib.util.find_spec(module) is None:
        reason = f"{what} is not installed: no test of it is run."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Process:
    """A server's process: started, stopped, killed, frozen, and started again on the same files and port."""

    def __init__(
        self, command: Sequence[str], folder: Path, answers: Callable[[], bool], environment: dict[str, str] = {}
    ) -> None:
        self._command, self._folder, self._answers = list(command), folder, answers
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
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
            self._process.wait(20)


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


@contextmanager
def bolt_server(folder: Path) -> Iterator[BoltServer]:
    needs("arcadedb_embedded", "arcadedb-embedded")
    needs("neo4j", "neo4j")
    port, http_port = free_port(), free_port()
    arguments = [str(folder / "databases"), PASSWORD, str(port), str(http_port)]
    process = Process(
        [sys.executable, "-c", _ARCADEDB, *arguments], folder, lambda: _listens(port) and _listens(http_port)
    )
    process.start()
    try:
        yield BoltServer(process, port, http_port)
    finally:
        process.kill()


# --- Chroma


@dataclass
class ChromaServer:
    process: Process
    port: int
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def chroma_server(folder: Path) -> Iterator[ChromaServer]:
    port = free_port()
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder / "vectors")]
    process = Process([*command, "--host", "127.0.0.1", "--port", str(port)], folder, lambda: _listens(port))
    process.start()
    try:
        yield ChromaServer(process, port, folder / "vectors")
    finally:
        process.kill()
