"""A data directory from before scopes: it opens, its keys do what they did, and old code could still use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from calls import assert_problem
from conftest import finished

from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client
from pegasus.data_directory import KEY_FILE
from pegasus.identifiers import new_id, sha256_hex
from pegasus.migrations import HEAD
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

pytestmark = pytest.mark.embedded("it is about SQLite's own file")

# As the release with schema 0001 wrote it.
INSERT_KEY = (
    "INSERT INTO api_keys (id, workspace_id, name, hint, key_sha256, created_at)"
    " VALUES (:id, :w, :name, 'pgs_', :sha256, 1)"
)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A directory at schema 0001 with the local key and one more."""
    store = SqliteRelationalStore(tmp_path / "pegasus.sqlite3")
    store.migrate("0001")
    with store.write() as tx:
        workspace = {"w": new_id()}
        tx.execute("INSERT INTO workspaces (id, name, created_at) VALUES (:w, 'local', 1)", workspace)
        for name in ("local", "phone"):
            tx.execute(INSERT_KEY, {**workspace, "id": new_id(), "name": name, "sha256": sha256_hex(f"pgs_{name}")})
    store.close()
    (tmp_path / KEY_FILE).write_text("pgs_local\n")
    return tmp_path


def test_its_keys_do_what_they_did_and_the_local_one_runs_the_installation(old: Path) -> None:
    with embedded(load_settings(data=old, embedder="hash")) as application:
        assert local_access(application, old).key == "pgs_local"
        with serving_in_background(application) as address:
            local = Client(address, "pgs_local")
            scopes = {key["name"]: (key["scope"], key["expires_at"]) for key in local.call("GET", "/v1/keys")["items"]}
            assert scopes == {"local": ("operator", None), "phone": ("admin", None)}
            assert [w["name"] for w in local.call("GET", "/v1/workspaces")["items"]] == ["local"]
            (event,) = local.call("GET", "/v1/audit")["items"]
            assert event["action"] == "key.made_operator"
            local.close()
            with httpx.Client(base_url=address, headers={"X-API-Key": "pgs_phone"}) as phone:
                added = phone.post("/v1/documents", json={"text": "Still here."}).json()
                phone_client = Client(address, "pgs_phone")
                finished(phone_client, added["job"]["id"])
                phone_client.close()
                assert phone.post("/v1/keys", json={"name": "watch"}).status_code == 201
                assert_problem(phone.get("/v1/workspaces"), 403, "forbidden")
    # Once is enough.
    with embedded(load_settings(data=old, embedder="hash")) as application:
        local_access(application, old)
        with application.relational.read() as tx:
            rows = tx.all("SELECT action FROM audit_events WHERE action = 'key.made_operator'")
        assert len(rows) == 1


def test_a_local_key_that_has_expired_or_was_revoked_is_replaced(old: Path) -> None:
    with embedded(load_settings(data=old, embedder="hash")) as application:
        with application.relational.write() as tx:
            past = {"past": time.time() - 1, "sha256": sha256_hex("pgs_local")}
            tx.execute("UPDATE api_keys SET expires_at = :past WHERE key_sha256 = :sha256", past)
        fresh = local_access(application, old).key
    assert fresh != "pgs_local"
    assert (old / KEY_FILE).read_text().strip() == fresh


def test_old_code_can_write_keys_on_the_new_schema(tmp_path: Path) -> None:
    store = SqliteRelationalStore(tmp_path / "pegasus.sqlite3")
    store.migrate(HEAD)
    with store.write() as tx:
        workspace = {"w": new_id()}
        tx.execute("INSERT INTO workspaces (id, name, created_at) VALUES (:w, 'local', 1)", workspace)
        tx.execute(INSERT_KEY, {**workspace, "id": new_id(), "name": "old", "sha256": "0" * 64})
        row = tx.one("SELECT scope, expires_at FROM api_keys")
    assert row is not None
    assert tuple(row) == ("admin", None)
    store.close()
