"""What a process among several refuses at its start, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgresql import PostgresServer
from psycopg.sql import SQL

from pegasus import bootstrap
from pegasus.access import service as access
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.bootstrap import Role, distributed, embedded
from pegasus.client import connected
from pegasus.errors import Misconfigured, Unauthorized
from pegasus.settings import Settings, load_settings

WANTED = {
    "DATABASE_URL": "postgresql://pegasus:secret@127.0.0.1:1/nobody",
    "REDIS_URL": "redis://:secret@127.0.0.1:1",
    "PEGASUS_VECTORS_URL": "http://127.0.0.1:1",
    "PEGASUS_GRAPH_URL": "bolt://127.0.0.1:1",
    "PEGASUS_FILES_URL": "/nowhere/files",
}


def settings_from(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> Settings:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("missing", sorted(WANTED))
@pytest.mark.parametrize("role", [Role.API, Role.WORKER, Role.SCHEDULER])
def test_whoever_lacks_a_server_is_told_which_and_why(
    monkeypatch: pytest.MonkeyPatch, role: Role, missing: str
) -> None:
    settings = settings_from(monkeypatch, {name: value for name, value in WANTED.items() if name != missing})
    with pytest.raises(Misconfigured) as caught, distributed(settings, role):
        pass
    assert f"pegasus {role}" in caught.value.detail
    assert [name for name in WANTED if name in caught.value.detail] == [missing]
    assert "(" in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("role", [Role.API, Role.WORKER, Role.SCHEDULER])
def test_none_of_several_makes_or_changes_the_schema(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_server: PostgresServer, role: Role
) -> None:
    database = postgres_server.url(postgres_server.create())
    given = {**WANTED, "DATABASE_URL": database, "PEGASUS_FILES_URL": str(tmp_path / "files")}
    settings = settings_from(monkeypatch, given)
    with pytest.raises(Misconfigured) as caught, distributed(settings, role):
        pass
    assert "pegasus schema upgrade" in (caught.value.hint or "")
    with bootstrap.rows(settings) as relational:
        assert relational.tables() == []


def test_who_wants_everything_alone_is_refused_where_others_may_be_at_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_from(monkeypatch, {"REDIS_URL": WANTED["REDIS_URL"], "PEGASUS_DATA": str(tmp_path / "data")})
    with pytest.raises(Misconfigured, match="REDIS_URL"), embedded(settings):
        pass
    assert not (tmp_path / "data").exists()


def test_a_command_among_several_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_from(monkeypatch, WANTED)
    with pytest.raises(Unauthorized) as caught, connected(settings):
        pass
    assert "PEGASUS_OPERATOR_KEY" in (caught.value.hint or "")


@pytest.mark.parametrize("value", ["", "read:0", "read,read", "write:1", "read:2:3", "read:100"])
def test_lanes_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(Misconfigured, match="PEGASUS_WORKER_LANES"):
        settings_from(monkeypatch, {"PEGASUS_WORKER_LANES": value})


@pytest.mark.parametrize(
    "value", ["redis://", "http://host:1", "redis://host/notes", "redis://host?ssl_ca_certs=/x", "rediss://host?what=1",
     "redis://host?cluster=true"],
    ids=["empty", "http", "named-database", "plain-with-certificate", "parameter", "cluster"],
)  # fmt: skip
def test_a_broker_that_is_none_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(Misconfigured, match="REDIS_URL") as caught:
        settings_from(monkeypatch, {"REDIS_URL": value.replace("//", "//:never-to-be-seen@")})
    assert "never-to-be-seen" not in caught.value.detail


def test_connections_that_there_are_not_are_not_counted_on(
    monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer, postgres_database: str
) -> None:
    store = PostgresRelationalStore(postgres_database, 8)
    budget = store.connection_budget()
    try:
        # The tests' server takes 200; three are kept for superusers.
        assert (budget.each, budget.available, budget.pooled) == (12, 197, False)
        name = postgres_database.rpartition("/")[2]
        postgres_server.administer(SQL("ALTER DATABASE {} CONNECTION LIMIT 30"), name)
        assert store.connection_budget().available == 30
    finally:
        store.close()


def test_the_operators_key_is_made_once_and_stays_revoked(application: bootstrap.Application) -> None:
    secret = "an-operators-key-of-this-very-test"
    with application.relational.write() as tx:
        access.ensure_operator_key(tx, secret)
    made = application.doorkeeper.admit(secret, "127.0.0.1").principal
    with application.relational.write() as tx:
        access.ensure_operator_key(tx, secret)
    assert application.doorkeeper.admit(secret, "127.0.0.1").principal == made
    with application.relational.write() as tx:
        access.revoke_key(tx, made, made.key_id)
        access.ensure_operator_key(tx, secret)
    application.doorkeeper.forget()  # As the call that revokes a key does.
    with pytest.raises(Unauthorized):
        application.doorkeeper.admit(secret, "127.0.0.1")
