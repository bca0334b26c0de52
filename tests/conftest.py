"""Fixtures: one real Pegasus for the whole run, and a workspace of its own for each test."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from shutil import disk_usage
from typing import Any

import httpx
import postgresql
import pytest
from benches import Bench
from pgbouncer import PgBouncer
from pgbouncer import running as running_pgbouncer
from postgresql import PostgresServer
from redis_server import PASSWORD, RedisServer, redis_cluster, redis_server
from servers import ON_SERVERS, REQUIRED, BoltServer, ChromaServer, S3Server, bolt_server, chroma_server, s3_server
from tier import ServerTier, running_on

from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.application import Application
from pegasus.bootstrap import embedded
from pegasus.client import Client
from pegasus.migrations import HEAD
from pegasus.ports import RelationalStore
from pegasus.server import serving_in_background
from pegasus.settings import load_settings
from pegasus.telemetry import configure_logging

_BEHAVIOUR = ("integration", "e2e", "hostile", "fuzz/test_fuzz_api.py")
_MEMORY, _ENOUGH_BYTES = "/dev/shm", 6 * 2**30

# Most of the time of a new data directory goes into waiting for a disk, and no test is about a power cut.
with suppress(OSError):
    if disk_usage(_MEMORY).free > _ENOUGH_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests first: at the end one processor would work on them while the others have nothing to do.

    On the server tier all that users see, and whatever is ``server``; the others would tell the same as elsewhere.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if ON_SERVERS:
        of_the_tier = [item for item in items if _is_of_the_server_tier(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(of_the_tier)])
        items[:] = of_the_tier


def _is_of_the_server_tier(item: pytest.Item) -> bool:
    behaviour = item.path.relative_to(Path(__file__).parent).as_posix().startswith(_BEHAVIOUR)
    return item.get_closest_marker("server") is not None or (behaviour and not item.get_closest_marker("embedded"))


_FINISHED = ("succeeded", "failed", "dead", "cancelled")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own settings must not reach a test."""
    for name in list(os.environ):
        if (name.startswith("PEGASUS_") and name != "PEGASUS_TEST_TIER") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def usual_log() -> None:
    """Whatever the tests before have made of it."""
    configure_logging("warning", "text")


@pytest.fixture(scope="session", autouse=True)
def tier(request: pytest.FixtureRequest) -> Iterator[None]:
    """With PEGASUS_TEST_TIER=server whatever a data directory would hold is in servers."""
    if not ON_SERVERS:
        yield
        return
    servers = [request.getfixturevalue(name) for name in ("postgres_server", "chroma", "bolt", "s3", "redis")]
    with running_on(ServerTier(*servers)):
        yield


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Embedded stores, the real model, workers running; shared by all tests that do not stop or break it."""
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
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    with chroma_server(tmp_path_factory.mktemp("chroma")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """With a password and the user who has no name, and a database for each data directory of a run."""
    with redis_server(password=PASSWORD, options={"databases": "10000"}) as server:
        yield server


@pytest.fixture(scope="session")
def redis_nodes() -> Iterator[list[RedisServer]]:
    """A cluster with a user of Pegasus' own, in TLS: as it is in AWS."""
    with redis_cluster(user="pegasus", password=PASSWORD, tls=True) as servers:
        yield servers


@pytest.fixture
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelationalStore]:
    """At the newest schema, on the tier that is tested."""
    if ON_SERVERS:
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
            if REQUIRED:
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
