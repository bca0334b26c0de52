"""A real PgBouncer in transaction mode before the tests' PostgreSQL, where Debian's package is installed.

No wheel carries it, so that its absence is no failure, not even in CI: what it asks of the store (nothing kept in a
session) is tested without it as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from postgresql import PASSWORD, PostgresServer
from servers import free_port

NEXT_STEP = "NOTHING IS TESTED THROUGH PGBOUNCER: it is not installed; apt-get install pgbouncer"
_START_SECONDS = 30
# Fewer connections to the server than one store opens: they have to be shared between transactions.
_SERVER_CONNECTIONS = 6


@dataclass(frozen=True)
class PgBouncer:
    port: int
    server: PostgresServer

    def url(self, database: str) -> str:
        return self.server.url(database).replace(f":{self.server.port}/", f":{self.port}/")


@contextmanager
def running(server: PostgresServer) -> Iterator[PgBouncer]:
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip(NEXT_STEP)
    folder = Path(tempfile.mkdtemp(prefix="pegasus-pgbouncer-"))
    bouncer = PgBouncer(free_port(), server)
    settings = {
        "listen_addr": "127.0.0.1", "listen_port": bouncer.port, "unix_socket_dir": "",
        "auth_type": "scram-sha-256", "auth_file": folder / "users",
        "pool_mode": "transaction", "default_pool_size": _SERVER_CONNECTIONS, "max_client_conn": 500,
    }  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (folder / "ini").write_text(f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n{lines}")
    (folder / "users").write_text(f'"pegasus" "{PASSWORD}"\n')
    as_root = os.geteuid() == 0  # It refuses to run so.
    if as_root:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "nobody", "nogroup")
    somebody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if as_root else {}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, folder / "ini"], stdout=log, stderr=log, cwd="/", **somebody)
    try:
        _wait_for(bouncer, process, folder / "log")
        yield bouncer
    finally:
        process.kill()
        process.wait(_START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(bouncer: PgBouncer, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(bouncer.url("postgres")).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PgBouncer did not start: {log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
