"""The audit log: every change is in it, nothing secret is, and it shows when it was tampered with."""

from __future__ import annotations

import zipfile
from io import BytesIO

import httpx
import pytest
from calls import add_text, assert_problem, walk
from conftest import finished

from pegasus.access import audit
from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.adapters.sqlite import SqliteTransaction
from pegasus.application import Application
from pegasus.client import Client
from pegasus.ports import RelationalStore

SECRET = "The osprey's ring is BX-1138."
BATCH = {"Content-Type": "application/x-ndjson"}
Event = dict[str, str]


def events(client: Client, **filters: str) -> list[Event]:
    """Newest first."""
    return list(client.call("GET", "/v1/audit", params={"limit": 200, **filters})["items"])


def told(client: Client) -> list[tuple[str, str, str]]:
    """(action, subject, outcome), oldest first."""
    return [(e["action"], e["subject_id"], e["outcome"]) for e in events(client)][::-1]


class TestEvents:
    def test_of_a_document_are_its_comings_and_goings(self, client: Client) -> None:
        first = add_text(client, SECRET, uri="note://ring")
        changed = add_text(client, SECRET + " It is blue.", uri="note://ring")
        again = add_text(client, SECRET + " It is blue.", uri="note://ring")
        id_ = first["document"]["id"]
        for added in (first, changed):
            finished(client, added["job"]["id"])
        job = client.call("DELETE", f"/v1/documents/{id_}")["job"]
        finished(client, job["id"])
        assert again["job"] is None
        assert told(client) == [
            ("document.added", id_, "created"),
            ("document.added", id_, "updated"),
            ("document.added", id_, "unchanged"),
            ("document.erased", id_, "accepted"),
        ]

    def test_of_an_upload_and_an_archive(self, http: httpx.Client, client: Client) -> None:
        single = http.post("/v1/documents", files={"file": ("a.txt", b"Terns nest on shingle.")}).json()
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("b.txt", "Gulls nest on roofs.")
            archive.writestr("c.txt", "Puffins nest in burrows.")
        many = http.post("/v1/documents", files={"file": ("birds.zip", buffer.getvalue())}).json()
        for added in (single, many):
            finished(client, added["job"]["id"])
        assert told(client) == [
            ("document.added", single["document"]["id"], "created"),
            ("documents.imported", many["job"]["id"], "accepted"),
        ]

    def test_of_a_batch_is_one_however_long_it_is(self, http: httpx.Client, client: Client) -> None:
        lines = b"".join(b'{"text": "Note %d"}\n' % n for n in range(60))
        job = http.post("/v1/documents/batch", content=lines, headers=BATCH).json()["job"]
        finished(client, job["id"])
        assert told(client) == [("documents.imported", job["id"], "accepted")]

    def test_of_sessions_jobs_and_keys(self, client: Client, http: httpx.Client) -> None:
        session = client.call("POST", "/v1/sessions", json={"title": SECRET})["id"]
        client.call("DELETE", f"/v1/sessions/{session}")
        key = client.call("POST", "/v1/keys", json={"name": "phone"})["id"]
        client.call("DELETE", f"/v1/keys/{key}")
        job = http.post("/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.7 no")}).json()["job"]["id"]
        finished(client, job)
        client.call("POST", f"/v1/jobs/{job}/retry")
        finished(client, job)
        assert [(action, subject) for action, subject, _ in told(client) if action != "document.added"] == [
            ("session.created", session),
            ("session.deleted", session),
            ("key.created", key),
            ("key.revoked", key),
            ("job.retried", job),
        ]

    def test_of_a_request_done_once_is_one(self, http: httpx.Client, client: Client) -> None:
        for _ in range(3):
            answer = http.post("/v1/documents", json={"text": SECRET}, headers={"Idempotency-Key": "once"})
        finished(client, answer.json()["job"]["id"])
        assert len(told(client)) == 1

    def test_of_what_failed_are_none(self, http: httpx.Client, client: Client) -> None:
        http.post("/v1/documents", json={"text": ""})
        http.delete("/v1/documents/0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1")
        http.post("/v1/keys", json={"name": "x", "expires_at": "2001-01-01"})
        assert told(client) == []

    def test_name_the_key_and_the_request(self, http: httpx.Client, client: Client) -> None:
        answer = http.post("/v1/keys", json={"name": "phone"})
        (event,) = events(client)
        me = [key["id"] for key in client.call("GET", "/v1/keys")["items"] if key["name"] == "test"]
        assert event["key_id"] in me
        assert event["request_id"] == answer.headers["x-request-id"]

    def test_have_nothing_of_the_content_or_a_key(self, http: httpx.Client, client: Client) -> None:
        created = client.call("POST", "/v1/keys", json={"name": "Marta Lindqvist"})
        added = add_text(client, SECRET, title="Ring", uri="note://ring", tags=["birds"])
        finished(client, added["job"]["id"])
        log = http.get("/v1/audit").text
        for secret in (created["key"], created["hint"], "Marta", "osprey", "Ring", "note://", "birds"):
            assert secret not in log

    def test_are_listed_once_newest_first(self, client: Client) -> None:
        for number in range(5):
            client.call("POST", "/v1/keys", json={"name": f"K{number}"})
        ids = walk(client, "/v1/audit")
        assert ids == [event["id"] for event in events(client)]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 5

    def test_can_be_filtered(self, client: Client) -> None:
        key = client.call("POST", "/v1/keys", json={"name": "K"})["id"]
        client.call("POST", "/v1/sessions", json={})
        (event,) = events(client, action="key.created")
        assert event["subject_id"] == key
        assert events(client, action="nothing.done") == []
        newest = events(client)[0]["at"]
        assert [e["action"] for e in events(client, since=newest)] == ["session.created"]
        assert events(client, since="2099-01-01") == []

    @pytest.mark.parametrize("query", ["since=x", "cursor=x", "limit=0", "limit=201", f"action={'x' * 101}"])
    def test_are_not_found_by_nonsense(self, http: httpx.Client, query: str) -> None:
        assert_problem(http.get(f"/v1/audit?{query}"), 422, "invalid")

    def test_and_what_they_tell_of_are_kept_together(self, application: Application, workspace_id: str) -> None:
        with pytest.raises(ZeroDivisionError), application.relational.write() as tx:
            key, _ = access.create_key(tx, workspace_id, "never")
            access.note(tx, None, "key.created", key.id, workspace_id=workspace_id)
            raise ZeroDivisionError
        with application.relational.read() as tx:
            assert audit.list_events(tx, workspace_id, None, None, None, 10).items == []
            assert audit.verify(tx, workspace_id).problem is None


class TestChain:
    def test_is_intact_and_has_a_head_to_note(self, client: Client) -> None:
        empty = client.call("GET", "/v1/audit/chain")
        assert (empty["intact"], empty["events"]) == (True, 0)
        for number in range(3):
            client.call("POST", "/v1/keys", json={"name": f"K{number}"})
        chain = client.call("GET", "/v1/audit/chain")
        assert (chain["intact"], chain["events"]) == (True, 3)
        assert chain["head_sha256"] == events(client)[0]["sha256"]
        client.call("POST", "/v1/keys", json={"name": "more"})
        again = client.call("GET", "/v1/audit/chain", params={"noted": chain["head_sha256"]})
        assert (again["intact"], again["events"]) == (True, 4)

    def test_a_head_that_was_never_there_is_not_found(self, http: httpx.Client) -> None:
        answer = http.get("/v1/audit/chain", params={"noted": "0" * 64}).json()
        assert answer["intact"] is False
        assert "written anew" in answer["problem"]
        assert_problem(http.get("/v1/audit/chain?noted=x"), 422, "invalid")


class Store:
    """A relational store of its own, whose rows can be tampered with."""

    def __init__(self, relational: RelationalStore) -> None:
        self.relational = relational
        with self.relational.write() as tx:
            self.workspaces = [access.create_workspace(tx, name) for name in ("one", "two")]
            for number in range(2_500):  # More than is read at a time
                access.note(tx, None, "key.created", f"key {number}", workspace_id=self.workspaces[number % 2])

    def tamper(self, *statements: str) -> None:
        """As somebody does who has the file, or owns the tables: without the triggers."""
        without, again = (
            ["ALTER TABLE audit_events DISABLE TRIGGER USER"],
            ["ALTER TABLE audit_events ENABLE TRIGGER USER"],
        )
        with self.relational.write() as tx:
            if isinstance(tx, SqliteTransaction):
                triggers = tx.all("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
                without, again = [f"DROP TRIGGER {row['name']}" for row in triggers], [row["sql"] for row in triggers]
            for statement in without:
                tx.execute(statement)
            for statement in statements:
                tx.execute(statement, {"w": self.workspaces[0]} if ":w" in statement else {})
            for statement in again:
                tx.execute(statement)

    def check(self, workspace: int = 0, noted: str | None = None) -> audit.ChainCheck:
        with self.relational.read() as tx:
            return audit.verify(tx, self.workspaces[workspace], noted)


@pytest.fixture
def store(empty_store: RelationalStore) -> Store:
    return Store(empty_store)


THIRD = "workspace_id = :w AND position = 3"


class TestTampering:
    @pytest.mark.parametrize("field", ["at = at + 1", "key_id = 'x'", "action = 'x'", "subject_id = 'x'",
                                       "outcome = 'x'", "request_id = 'x'", "sha256 = 'x'", "id = 'x'"])  # fmt: skip
    def test_a_changed_event_shows(self, store: Store, field: str) -> None:
        assert store.check().problem is None
        store.tamper(f"UPDATE audit_events SET {field} WHERE {THIRD}")
        assert store.check().broken_at == 3
        assert store.check(workspace=1).problem is None

    @pytest.mark.parametrize(
        ("statements", "broken_at"),
        [
            ([f"DELETE FROM audit_events WHERE {THIRD}"], 3),
            (["DELETE FROM audit_events WHERE workspace_id = :w AND position > 1200"], 1201),
            (["DELETE FROM audit_events WHERE workspace_id = :w"], 1),
            (["UPDATE audit_heads SET position = 2 WHERE workspace_id = :w"], 1251),
            (["DELETE FROM audit_heads WHERE workspace_id = :w"], 1251),
            (
                [
                    f"DELETE FROM audit_events WHERE {THIRD}",
                    "UPDATE audit_events SET position = 3 WHERE workspace_id = :w AND position = 1250",
                ],
                3,
            ),
        ],
    )
    def test_a_missing_or_moved_event_shows(self, store: Store, statements: list[str], broken_at: int) -> None:
        store.tamper(*statements)
        check = store.check()
        assert (check.broken_at, bool(check.problem)) == (broken_at, True)

    def test_a_chain_that_was_written_anew_shows_to_who_noted_its_head(self, store: Store) -> None:
        noted = store.check().head_sha256
        store.tamper("DELETE FROM audit_events WHERE workspace_id = :w", "DELETE FROM audit_heads")
        with store.relational.write() as tx:
            access.note(tx, None, "nothing.happened", "x", workspace_id=store.workspaces[0])
        assert store.check().problem is None
        assert store.check(noted=noted).problem

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_events SET outcome = 'x'",
            "DELETE FROM audit_events",
            "DELETE FROM audit_events WHERE position = 1",
        ],
    )
    def test_the_store_itself_refuses_to_change_or_delete(self, store: Store, statement: str) -> None:
        with pytest.raises(Exception, match="audit events"), store.relational.write() as tx:
            tx.execute(statement)
        assert store.check().problem is None

    def test_only_the_erasure_of_a_workspace_takes_its_log_along(self, store: Store) -> None:
        one, two = ({"w": workspace_id} for workspace_id in store.workspaces)
        with store.relational.write() as tx:
            tx.execute("UPDATE workspaces SET erasing_at = 1 WHERE id = :w", one)
            assert tx.execute("DELETE FROM audit_events WHERE workspace_id = :w", one) == 1_250
        with pytest.raises(Exception, match="audit events"), store.relational.write() as tx:
            tx.execute("DELETE FROM audit_events WHERE workspace_id = :w", two)


def test_a_workspace_that_is_being_erased_is_closed_at_once(
    application: Application, address: str, workspace_id: str
) -> None:
    with application.relational.write() as tx:
        _, key = access.create_key(tx, workspace_id, "late", scope=Scope.ADMIN)
    assert httpx.get(f"{address}/v1/keys", headers={"X-API-Key": key}).status_code == 200
    with application.relational.write() as tx:
        tx.execute("UPDATE workspaces SET erasing_at = 1 WHERE id = :w", {"w": workspace_id})
    application.doorkeeper.forget()  # As the call that closes a workspace does.
    assert_problem(httpx.get(f"{address}/v1/keys", headers={"X-API-Key": key}), 401, "unauthorized")
