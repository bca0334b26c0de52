"""Fixtures: one real Pegasus for the whole run, and a workspace of its own for each test."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import postgresql
import pytest
from benches import Bench
from pgbouncer import PgBouncer
from pgbouncer import running as running_pgbouncer
from postgresql import PostgresServer
from servers import BoltServer, S3Server, bolt_server, s3_server

from pegasus import bootstrap
from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.application import Application
from pegasus.bootstrap import Database, embedded
from pegasus.client import Client
from pegasus.migrations import HEAD
from pegasus.ports import RelationalStore
from pegasus.server import serving_in_background
from pegasus.settings import load_settings
from pegasus.telemetry import configure_logging

_FINISHED = ("succeeded", "failed", "dead", "cancelled")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own settings must not reach a test."""
    for name in list(os.environ):
        if (name.startswith("PEGASUS_") and name != "PEGASUS_TEST_TIER") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def tier(request: pytest.FixtureRequest) -> Iterator[None]:
    """With PEGASUS_TEST_TIER=server every data directory that a test makes has its rows in a database of PostgreSQL.

    Where SQLite would have its file is one with the database's name, so that it moves with its directory.
    """
    if os.environ.get("PEGASUS_TEST_TIER") != "server":
        yield
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")

    def open_relational(directory: Path, database: Database | None) -> RelationalStore:
        file = directory / "pegasus.sqlite3"
        if not file.exists():
            file.write_text(f"{server.create()}\n{directory}")
        name, _, place = file.read_text().partition("\n")
        if Path(place) != directory and Path(place).exists():  # A copy of another directory has a copy of its rows.
            name = server.create(name)
        file.write_text(f"{name}\n{directory}")
        return PostgresRelationalStore(server.url(name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_open_relational", open_relational)
        yield


@pytest.fixture(autouse=True)
def on_its_tier(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("sqlite") and os.environ.get("PEGASUS_TEST_TIER") == "server":
        pytest.skip("of SQLite's own files")


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Embedded stores, the real model, workers running; shared by all tests that do not stop or break it."""
    configure_logging("warning", "text")
    directory: Path = tmp_path_factory.mktemp("data")
    with embedded(load_settings(data=directory, embed_threads=1, parse_timeout_seconds=10)) as running:
        yield running


@pytest.fixture(scope="session")
def address(application: Application) -> Iterator[str]:
    with serving_in_background(application) as address:
        yield address


@pytest.fixture
def workspace_id(application: Application) -> str:
    with application.relational.write() as tx:
        return access.create_workspace(tx, "test")


@pytest.fixture
def client(application: Application, address: str, workspace_id: str) -> Iterator[Client]:
    """The HTTP interface over a real connection, with a key of the test's own empty workspace."""
    with application.relational.write() as tx:
        _, key = access.create_key(tx, workspace_id, "test", scope=Scope.OPERATOR)
    made = Client(address, key)
    yield made
    made.close()


@pytest.fixture
def http(application: Application, address: str, workspace_id: str) -> Iterator[httpx.Client]:
    """The same workspace as ``client``'s, for what is about statuses, headers and bytes."""
    with application.relational.write() as tx:
        _, key = access.create_key(tx, workspace_id, "test", scope=Scope.OPERATOR)
    # Without certificates, which nobody asks for here and which take longer to load than most tests.
    with httpx.Client(base_url=address, headers={"X-API-Key": key}, timeout=60, verify=False) as made:
        yield made


def finished(client: Client, job_id: str, timeout_seconds: float = 60) -> dict[str, Any]:
    """The job once it is finished."""
    until = time.monotonic() + timeout_seconds
    while True:
        job: dict[str, Any] = client.call("GET", f"/v1/jobs/{job_id}")
        if job["state"] in _FINISHED:
            return job
        if time.monotonic() > until:
            raise AssertionError(f"the job is still {job['state']} at {job['step']} after {timeout_seconds} s")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sqlite")
    store = SqliteRelationalStore(folder / "new.sqlite3")
    store.migrate(HEAD)
    store.close()
    with closing(sqlite3.connect(folder / "new.sqlite3")) as connection:
        connection.execute("VACUUM INTO ?", (str(folder / "migrated.sqlite3"),))
    return folder / "migrated.sqlite3"


@pytest.fixture(scope="session")
def bolt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoltServer]:
    with bolt_server(tmp_path_factory.mktemp("bolt")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelationalStore]:
    """At the newest schema, on the tier that is tested."""
    if os.environ.get("PEGASUS_TEST_TIER") == "server":
        store: RelationalStore = PostgresRelationalStore(request.getfixturevalue("postgres_database"))
    else:
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "test.sqlite3")
        store = SqliteRelationalStore(tmp_path / "test.sqlite3")
    yield store
    store.close()


@pytest.fixture
def bench(empty_store: RelationalStore) -> Bench:
    return Bench(empty_store)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgresql.running())
        except postgresql.Missing as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"NOTHING IS TESTED ON POSTGRESQL: {error}")
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with running_pgbouncer(postgres_server) as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """A database at the newest schema, to be copied."""
    name = postgres_server.create()
    store = PostgresRelationalStore(postgres_server.url(name))
    store.migrate(HEAD)
    store.close()
    return name


@pytest.fixture
def postgres_database(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The address of an empty database at the newest schema."""
    name = postgres_server.create(postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop(name)
