"""A workspace that is erased is closed at once and gone from every store, whatever interrupts; others are untouched."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from calls import announce_upload, assert_problem, send_upload
from conftest import finished
from installations import rows, settings_for, silent, stopped, truth_of
from servers import ON_SERVERS
from stores import differences
from tier import copied, one_machine

from pegasus import bootstrap
from pegasus.access import service as access
from pegasus.access.scopes import Principal, Scope
from pegasus.adapters.sqlite import SqliteTransaction
from pegasus.application import Application
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client, ProblemError
from pegasus.documents import service as documents
from pegasus.domain import Lane
from pegasus.errors import Conflict
from pegasus.ingestion import intake
from pegasus.integrity import erasure, repository, workspaces
from pegasus.integrity.backup import back_up
from pegasus.integrity.encryption import Key, unlock
from pegasus.integrity.restore import check
from pegasus.jobs import service as jobs
from pegasus.server import serving_in_background
from pegasus.sources import service as sources

Json = dict[str, Any]
# Tables that belong to no workspace. Whoever adds one says here that it is the installation's.
OF_THE_INSTALLATION = {"backups"}
SECRET = "The zanzibarite crystal was hidden by Quillon Featherstonehaugh beneath the xylotheque."


@dataclass
class Tenant:
    id: str
    key: str


@dataclass
class Installation:
    application: Application
    address: str
    operator: Client
    gone: Tenant
    kept: Tenant

    @property
    def directory(self) -> Path:
        return self.application.settings.data

    def client(self, tenant: Tenant) -> Client:
        return Client(self.address, tenant.key)

    def erase(self) -> Json:
        job: Json = self.operator.call("DELETE", f"/v1/workspaces/{self.gone.id}")["job"]
        return job

    def receipt(self) -> Json:
        found: Json = self.operator.call("GET", f"/v1/erasures/{self.gone.id}")
        return found


def fill(client: Client, words: str, folder: Path) -> None:
    """Something of everything: versions, links, files, one that cannot be read, an archive, an erasure, a session, a
    source that has run."""
    for n in range(30):
        body = {
            "text": f"{words} Note {n} links to [[Note {n + 1}]].",
            "title": f"Note {n}",
            "uri": f"note:{n}",
            "tags": ["t"],
        }
        added = client.call("POST", "/v1/documents", json=body, headers={"Idempotency-Key": f"note-{n}"})
    finished(client, added["job"]["id"])
    changed = client.call("POST", "/v1/documents", json={"text": f"{words} It changed.", "uri": "note:0"})
    finished(client, changed["job"]["id"])
    members = io.BytesIO()
    with zipfile.ZipFile(members, "w") as archive:
        archive.writestr("in/one.txt", f"In an archive: {words}")
    plan = f"# Plan\n\n{words}\n".encode()
    for name, content in (
        ("plan.md", plan),
        (f"{words}.pdf", b"%PDF-1.4 broken " + words.encode()),
        ("all.zip", members.getvalue()),
    ):
        finished(client, client.call("POST", "/v1/documents", files={"file": (name, content)})["job"]["id"])
    assert send_upload(announce_upload(client, "plan.md", plan), plan) == 200  # And never handed in.
    finished(client, client.call("DELETE", f"/v1/documents/{changed['document']['id']}")["job"]["id"])
    session = client.call("POST", "/v1/sessions", json={"title": words})["id"]
    path = f"/v1/sessions/{session}/messages"
    client.call("POST", path, json={"content": f"Who? {words}"}, headers={"Idempotency-Key": "message"})
    folder.mkdir()
    (folder / "watched.md").write_text(f"Watched: {words}")
    origin = {"kind": "folder", "path": str(folder)}
    source = client.call("POST", "/v1/sources", json={"name": "watched", "origin": origin, "every_seconds": 3600})
    finished(client, client.call("POST", f"/v1/sources/{source['id']}/run")["job"]["id"])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tenant, Tenant]:
    """The data directory of an installation with two full workspaces besides its own; no process has it."""
    folder = tmp_path_factory.mktemp("filled")
    tenants = []
    (folder / "origins").mkdir()
    settings = settings_for(folder / "data").model_copy(update={"source_folders": str(folder / "origins")})
    with embedded(settings) as application, serving_in_background(application) as address:
        operator = Client(address, local_access(application, folder / "data").key)
        for name, words in (("gone", SECRET), ("kept", "Ada Lovelace wrote to Charles Babbage about the engine.")):
            made = operator.call("POST", "/v1/workspaces", json={"name": name})
            tenants.append(Tenant(made["workspace"]["id"], made["key"]["key"]))
            client = Client(address, made["key"]["key"])
            fill(client, words, folder / "origins" / name)
            client.close()
        at_rest(application)
        operator.close()
    return folder / "data", tenants[0], tenants[1]


def at_rest(application: Application, timeout_seconds: float = 30) -> None:
    until = time.monotonic() + timeout_seconds
    while time.monotonic() < until:
        with application.relational.read() as tx:
            if not tx.one("SELECT 1 FROM jobs WHERE state IN ('queued', 'running')"):
                return
        time.sleep(0.02)
    raise AssertionError("jobs are still waiting")


@pytest.fixture
def folder(filled: tuple[Path, Tenant, Tenant], tmp_path: Path) -> Path:
    """A copy of the filled directory, for one test."""
    return copied(filled[0], tmp_path / "data")


@contextmanager
def running(folder: Path, filled: tuple[Path, Tenant, Tenant]) -> Iterator[Installation]:
    with embedded(settings_for(folder)) as application, serving_in_background(application) as address:
        operator = Client(address, local_access(application, folder).key)
        yield Installation(application, address, operator, filled[1], filled[2])
        operator.close()


@pytest.fixture
def installation(folder: Path, filled: tuple[Path, Tenant, Tenant]) -> Iterator[Installation]:
    with running(folder, filled) as running_:
        yield running_


def rows_of(relational: Any, workspace_id: str) -> dict[str, list[Json]]:
    """Every row of a workspace, by table."""
    with relational.read() as tx:
        return {
            table.name: [
                dict(row)
                for row in tx.all(
                    f"SELECT * FROM {table.name} WHERE {condition} ORDER BY {', '.join(table.key)}", {"w": workspace_id}
                )
            ]
            for table, condition in repository.rows_of_workspace(relational.tables())
        }


def said(client: Client) -> str:
    body = {"query": "Ada Lovelace engine", "limit": 20}
    found = client.call("POST", "/v1/search", json=body)["passages"]
    listed = client.call("GET", "/v1/documents?limit=200")["items"]
    sessions = client.call("GET", "/v1/sessions")["items"]
    return json.dumps([found, listed, sessions, client.call("GET", "/v1/sources")["items"]], sort_keys=True)


def ids_of(found: dict[str, list[Json]]) -> set[str]:
    """Ids and digests of what a workspace has, but its own, which the receipt names."""
    named = {"documents", "passages", "entities", "sessions", "messages", "sources", "jobs", "api_keys"}
    ids = {row["id"] for table in named for row in found[table]}
    return ids | {row["sha256"] for row in found["document_versions"]} | {r["key_sha256"] for r in found["api_keys"]}


def operator_of(application: Application) -> Principal:
    with application.relational.read() as tx:
        row = tx.one("SELECT id, workspace_id FROM api_keys WHERE name = 'local'")
    assert row
    return Principal(row["id"], row["workspace_id"], Scope.OPERATOR)


# --- What is gone, and what is not ----------------------------------------------------------------------------------


def test_nothing_of_it_remains_and_the_others_are_untouched(installation: Installation) -> None:
    application, gone, kept = installation.application, installation.gone, installation.kept
    before = rows_of(application.relational, gone.id)
    assert {name for name, found in before.items() if not found} <= {"removals"}  # Otherwise this shows little.
    others_before = {name: rows_of(application.relational, kept.id)[name] for name in before}
    kept_client = installation.client(kept)
    said_before = said(kept_client)

    job = installation.erase()
    done = finished(installation.operator, job["id"])
    assert (done["kind"], done["state"], done["error"]) == ("erase-workspace", "succeeded", None)

    assert not any(rows_of(application.relational, gone.id).values())
    everything = json.dumps(rows(application.relational), default=str)
    assert not {id_ for id_ in ids_of(before) if id_ in everything}
    for word in ("zanzibarite", "Featherstonehaugh", "xylotheque"):
        assert word not in everything
    with application.relational.read() as tx:
        assert not tx.one(
            "SELECT 1 FROM sqlite_master WHERE name LIKE '%' || :w || '%'"
            if isinstance(tx, SqliteTransaction)
            else "SELECT 1 FROM words WHERE workspace_id = :w UNION SELECT 1 FROM word_counts WHERE workspace_id = :w",
            {"w": gone.id.replace("-", "") if isinstance(tx, SqliteTransaction) else gone.id},
        )
    assert not (installation.directory / "files" / gone.id).exists()
    assert gone.id not in {item["id"] for item in installation.operator.call("GET", "/v1/workspaces")["items"]}

    after = rows_of(application.relational, kept.id)
    for row in [*others_before["api_keys"], *after["api_keys"]]:
        row["last_used_at"] = None
    assert after == others_before
    assert said(kept_client) == said_before
    kept_client.close()
    assert installation.operator.call("GET", "/v1/integrity")["consistent"]
    assert differences(application) == []


def test_the_receipt_tells_what_went_and_where_it_was_looked_for(installation: Installation) -> None:
    before = rows_of(installation.application.relational, installation.gone.id)
    job = installation.erase()
    accepted = installation.receipt()
    assert (accepted["scope"], accepted["subject_id"]) == ("workspace", installation.gone.id)
    finished(installation.operator, job["id"])
    receipt = installation.receipt()
    assert receipt == installation.operator.call("GET", f"/v1/erasures/{job['id']}")
    assert receipt in installation.operator.call("GET", "/v1/erasures")["items"]
    assert receipt["state"] == "verified"
    files = sum(row["file_key"] is not None for row in before["document_versions"])
    assert files
    expected = {
        "documents": len(before["documents"]),
        "versions": len(before["document_versions"]),
        "passages": len(before["passages"]),
        "vectors": len(before["passages"]),
        "entities": len(before["entities"]),
        "files": files,
        "workspaces": 1,
    }
    by_erasing = {"document_uris", "document_tags", "links", "link_keys", "mentions", "passage_embeddings", "removals"}
    expected |= {
        name: len(found) for name, found in before.items() if found and name not in by_erasing | {"document_versions"}
    }
    assert receipt["removed"] == expected
    assert {look["left"] for look in receipt["looks"]} == {0}
    assert {look["store"] for look in receipt["looks"]} == {"rows", "full text", "vectors", "graph", "files"}
    text = json.dumps(receipt)
    assert "gone" not in text
    assert "zanzibarite" not in text.lower()
    (event,) = installation.operator.call("GET", "/v1/audit", params={"action": "workspace.erased"})["items"]
    assert (event["subject_id"], event["outcome"]) == (installation.gone.id, "accepted")
    assert installation.operator.call("GET", "/v1/audit/chain")["intact"]


@pytest.mark.embedded("what servers keep in their files is left to them, which test_servers shows")
def test_a_compaction_purges_it(installation: Installation) -> None:
    finished(installation.operator, installation.erase()["id"])
    job = installation.operator.call("POST", "/v1/integrity/compact")["job"]
    assert finished(installation.operator, job["id"])["result"]["erasures_purged"] >= 1
    assert installation.receipt()["state"] == "purged"
    assert not any(installation.gone.id in str(path) for path in installation.directory.rglob("*"))
    with closing(sqlite3.connect(installation.directory / "vectors" / "chroma.sqlite3")) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM collections")}
    assert f"workspace-{installation.gone.id}" not in names


def test_every_table_is_a_workspaces_or_the_installations(installation: Installation) -> None:
    tables = installation.application.relational.tables()
    found = {table.name for table, _ in repository.rows_of_workspace(tables)}
    assert {table.name for table in tables} - found == OF_THE_INSTALLATION


# --- Closed at once -------------------------------------------------------------------------------------------------


def test_its_keys_are_closed_at_once_and_the_answer_names_the_job(installation: Installation) -> None:
    headers = {"X-API-Key": local_access(installation.application, installation.directory).key}
    theirs = {"X-API-Key": installation.gone.key}
    assert httpx.get(f"{installation.address}/v1/documents", headers=theirs).status_code == 200
    answer = httpx.delete(f"{installation.address}/v1/workspaces/{installation.gone.id}", headers=headers)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['job']['id']}"
    assert_problem(httpx.get(f"{installation.address}/v1/documents", headers=theirs), 401, "unauthorized")
    finished(installation.operator, answer.json()["job"]["id"])
    assert_problem(httpx.get(f"{installation.address}/v1/documents", headers=theirs), 401, "unauthorized")


class TestAccepted:
    """What holds from the acceptance on, before the job has done anything."""

    @pytest.fixture
    def application(self, folder: Path) -> Iterator[Application]:
        with stopped(folder) as application:
            yield application

    @pytest.fixture
    def gone(self, application: Application, filled: tuple[Path, Tenant, Tenant]) -> str:
        return accept(application, filled[1].id)

    def test_what_was_queued_or_running_is_cancelled_and_the_erasure_cannot_be(
        self, application: Application, filled: tuple[Path, Tenant, Tenant]
    ) -> None:
        gone, kept, operator = filled[1].id, filled[2].id, operator_of(application)
        with application.relational.write() as tx:
            for workspace_id in (gone, kept):
                new = documents.new_text(f"Waiting in {workspace_id}.", None, None, max_characters=100)
                intake.add_text(tx, workspace_id, new)
                jobs.open_batch(tx, workspace_id)
        job_id = accept(application, gone)
        with application.relational.write() as tx:
            for workspace_id, left in ((gone, 0), (kept, 2)):
                unfinished = [
                    job
                    for job in jobs.list_page(tx, workspace_id, None, None, None, 200).items
                    if not job.state.finished
                ]
                assert len(unfinished) == left
            with pytest.raises(Conflict, match="cannot be cancelled"):
                jobs.cancel(tx, operator.workspace_id, job_id)

    def test_a_request_that_came_in_before_can_write_nothing(
        self, application: Application, filled: tuple[Path, Tenant, Tenant], gone: str
    ) -> None:
        workspace_id = filled[1].id
        admitted = Principal("a-key", workspace_id, Scope.ADMIN)
        new = documents.new_text("Too late.", None, None, max_characters=100)
        with pytest.raises(Conflict, match="is being erased"), application.relational.write() as tx:
            intake.add_text(tx, workspace_id, new)
        with pytest.raises(Conflict, match="is being erased"), application.relational.write() as tx:
            access.grant_key(tx, admitted, "late", Scope.READ, None, None, None)
        with pytest.raises(Conflict, match="is being erased"), application.relational.write() as tx:
            access.remember(tx, workspace_id, "late", "", access.Reply(200, {}))
        run_to_its_end(application)
        with pytest.raises(Conflict, match="is being erased"), application.relational.write() as tx:
            intake.add_text(tx, workspace_id, new)

    def test_its_sources_do_not_run_any_more(
        self, application: Application, filled: tuple[Path, Tenant, Tenant], gone: str
    ) -> None:
        with application.relational.write() as tx:
            assert sources.start_due(tx, time.time() + 10**7) == 1  # The other workspace's
            page = jobs.list_page(tx, filled[1].id, None, None, None, 200).items
            assert all(job.state.finished for job in page)

    def test_an_archive_that_is_being_unpacked_leaves_no_file(
        self, application: Application, filled: tuple[Path, Tenant, Tenant]
    ) -> None:
        """Its worker learns only at the next member that the job is not its own any more."""
        workspace_id = filled[1].id
        members = io.BytesIO()
        with zipfile.ZipFile(members, "w") as archive:
            archive.writestr("one.txt", "Of no use any more.")
        upload = intake.Upload("late.zip", None, None, None, (), {})
        stored = intake.store(application.files, workspace_id, io.BytesIO(members.getvalue()), upload, 10**6)
        with application.relational.write() as tx:
            intake.add_file(tx, workspace_id, stored)
        worker = next(w for w in application.workers if w.lane is Lane.READ)
        (job,) = worker._worker._claim()
        accept(application, workspace_id)
        files = set(application.files.stored_keys())
        worker._worker._run([job])
        assert set(application.files.stored_keys()) == files
        run_to_its_end(application)
        assert not any(key.startswith(workspace_id) for key in application.files.stored_keys())

    def test_a_backup_leaves_it_out_and_what_is_restored_from_it_ends_the_erasure(
        self, application: Application, filled: tuple[Path, Tenant, Tenant], gone: str, tmp_path: Path
    ) -> None:
        workspace_id = filled[1].id
        back_up(application.relational, application.files, tmp_path / "archive", progress=silent)
        opened = unlock(tmp_path / "archive", Key())
        bootstrap.restore(settings_for(one_machine(tmp_path / "restored")), opened, check(opened, silent), silent)
        with truth_of(tmp_path / "restored") as (relational, files):
            assert not any(rows_of(relational, workspace_id).values())
            assert not any(key.startswith(workspace_id) for key in files.stored_keys())
        with embedded(settings_for(tmp_path / "restored")) as restored:
            at_rest(restored)
            with restored.relational.read() as tx:
                row = tx.one("SELECT * FROM erasures WHERE subject_id = :id", {"id": workspace_id})
            assert row
            assert row["verified_at"]
            assert differences(restored) == []


def accept(application: Application, workspace_id: str) -> str:
    """The id of the job; no worker runs."""
    operator = operator_of(application)
    with application.relational.write() as tx:
        return workspaces.accept(tx, operator, workspace_id).id


def run_to_its_end(application: Application) -> None:
    worker = next(w for w in application.workers if w.lane is Lane.INDEX)
    while worker.run_once():
        pass


# --- Interrupted ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no code catches, as it catches no kill."""


# On the server tier an installation takes longer to copy.
STRIDE = 5 if ON_SERVERS else 1


@pytest.mark.timeout(600)
def test_it_goes_on_wherever_it_was_interrupted_and_still_tells_of_all(
    folder: Path, filled: tuple[Path, Tenant, Tenant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before its first, its second ... transaction, until it comes to the end without that."""
    monkeypatch.setattr("pegasus.integrity.workspaces._DOCUMENTS_AT_ONCE", 10)
    with stopped(folder) as application:
        accept(application, filled[1].id)
    uninterrupted, deaths = receipt_after(copied(folder, tmp_path / "whole"), filled, None), 0
    while True:
        copy = copied(folder, tmp_path / f"{deaths}")
        receipt = receipt_after(copy, filled, deaths)
        if receipt is None:
            break
        assert receipt["removed"] == uninterrupted["removed"], deaths
        assert receipt["checks"] == uninterrupted["checks"], deaths
        shutil.rmtree(copy)
        deaths += STRIDE
    assert deaths > 20


def receipt_after(folder: Path, filled: tuple[Path, Tenant, Tenant], survived: int | None) -> Any:
    """The receipt of an erasure whose process died after so many transactions; None where there were no more."""
    count = 0

    @contextmanager
    def dying(*rest: Any, **more: Any) -> Iterator[Any]:
        nonlocal count
        if survived is not None and count >= survived:
            raise Killed
        with write(*rest, **more) as tx:
            yield tx
        count += 1

    with pytest.MonkeyPatch.context() as patch, stopped(folder) as application:
        write = application.relational.write  # Others write in this process, too.
        patch.setattr(application.relational, "write", dying)
        try:
            run_to_its_end(application)
        except Killed:
            pass
        else:
            if survived is not None:
                return None
    with stopped(folder) as application:
        bootstrap._recover(application)
        run_to_its_end(application)
        assert not any(rows_of(application.relational, filled[1].id).values()), survived
        assert not any(key.startswith(filled[1].id) for key in application.files.stored_keys()), survived
        assert differences(application) == [], survived
        with application.relational.read() as tx:
            row = tx.one("SELECT * FROM erasures WHERE subject_id = :id", {"id": filled[1].id})
        assert row
        assert row["verified_at"]
        return {"removed": json.loads(row["removed"]), "checks": json.loads(row["checks"])}


@pytest.mark.parametrize("store", ["vectors", "files", "graph"])
def test_it_is_not_said_to_be_over_while_something_is_left(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    search: Any = installation.application.search
    owner, names = {
        "vectors": (type(search._vectors), ("delete", "drop")),
        "files": (type(installation.application.files), ("delete", "drop")),
        "graph": (type(search._graph), ("delete_passages",)),
    }[store]
    for name in names:
        monkeypatch.setattr(owner, name, lambda *_: None)
    job = installation.erase()
    while (seen := installation.operator.call("GET", f"/v1/jobs/{job['id']}"))["error"] is None:
        assert seen["state"] != "succeeded"
    assert f"{store} (" in seen["error"]["detail"]
    assert installation.receipt()["state"] == "accepted"
    assert installation.receipt()["looks"] == []
    monkeypatch.undo()
    assert finished(installation.operator, job["id"])["state"] == "succeeded"
    assert installation.receipt()["state"] == "verified"


# --- Refused, and asked for again -----------------------------------------------------------------------------------


def test_asked_for_again_it_is_the_same_job(installation: Installation) -> None:
    first, second = installation.erase(), installation.erase()
    assert first["id"] == second["id"]
    finished(installation.operator, first["id"])
    assert installation.erase()["state"] == "succeeded"
    assert len(installation.operator.call("GET", "/v1/erasures")["items"]) == 1


def test_one_that_had_given_up_is_tried_again(installation: Installation) -> None:
    job = installation.erase()
    finished(installation.operator, job["id"])
    with installation.application.relational.write() as tx:
        tx.execute("UPDATE jobs SET state = 'dead', step = 'end' WHERE id = :id", {"id": job["id"]})
    assert installation.erase()["id"] == job["id"]
    assert finished(installation.operator, job["id"])["state"] == "succeeded"


def test_ones_own_workspace_and_the_installations_are_refused_with_a_next_step(installation: Installation) -> None:
    relational = installation.application.relational
    with relational.write() as tx:
        first = access.ensure_workspace(tx)
        _, elsewhere = access.create_key(tx, installation.kept.id, "operator", scope=Scope.OPERATOR)
    other = Client(installation.address, elsewhere)
    for client, workspace_id in ((installation.operator, first), (other, first), (other, installation.kept.id)):
        with pytest.raises(ProblemError) as refused:
            client.call("DELETE", f"/v1/workspaces/{workspace_id}")
        assert refused.value.body["status"] == 409
        assert "pegasus erase" in refused.value.body["hint"]
    with relational.read() as tx:
        assert not access.any_workspace_erasing(tx)
    other.close()


@pytest.mark.parametrize("workspace_id", ["0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1", "no-id", "%2e%2e"])
def test_an_unknown_one_is_not_found(installation: Installation, workspace_id: str) -> None:
    with pytest.raises(ProblemError) as refused:
        installation.operator.call("DELETE", f"/v1/workspaces/{workspace_id}")
    assert refused.value.body["status"] == 404


def test_only_the_operator_may(installation: Installation) -> None:
    for tenant in (installation.gone, installation.kept):
        answer = httpx.delete(
            f"{installation.address}/v1/workspaces/{installation.gone.id}", headers={"X-API-Key": tenant.key}
        )
        assert_problem(answer, 403, "forbidden")


def test_a_workspace_goes_only_when_what_it_erases_is_gone_and_hands_its_receipts_on(
    folder: Path, filled: tuple[Path, Tenant, Tenant]
) -> None:
    _, gone, kept = filled
    with stopped(folder) as application:
        relational, first = application.relational, operator_of(application)
        second = Principal("another", kept.id, Scope.OPERATOR)
        with relational.write() as tx:
            job = workspaces.accept(tx, second, gone.id)
        for asking, workspace_id, why in ((first, gone.id, "already"), (first, kept.id, "not over")):
            with pytest.raises(Conflict, match=why), relational.write() as tx:
                workspaces.accept(tx, asking, workspace_id)
        run_to_its_end(application)
        with relational.write() as tx:
            workspaces.accept(tx, first, kept.id)
        run_to_its_end(application)
        with relational.read() as tx:
            for subject_id in (gone.id, kept.id):
                assert erasure.receipt(tx, first.workspace_id, subject_id).state == "verified"
            assert erasure.receipt(tx, first.workspace_id, job.id).subject_id == gone.id


# --- Backups --------------------------------------------------------------------------------------------------------


def test_a_receipt_lists_the_backups_that_may_still_hold_it(installation: Installation, tmp_path: Path) -> None:
    relational, files = installation.application.relational, installation.application.files
    for name, keep_days in (("kept", 30), ("for-ever", None), ("expired", 0)):
        back_up(relational, files, tmp_path / name, keep_days=keep_days, progress=silent)
    client = installation.client(installation.kept)
    document = client.call("GET", "/v1/documents")["items"][0]["id"]
    finished(client, client.call("DELETE", f"/v1/documents/{document}")["job"]["id"])
    finished(installation.operator, installation.erase()["id"])
    back_up(relational, files, tmp_path / "later", progress=silent)
    for receipt in (client.call("GET", f"/v1/erasures/{document}"), installation.receipt()):
        assert [backup["name"] for backup in receipt["backups"]] == ["kept", "for-ever"]
        assert [backup["expires_at"] is None for backup in receipt["backups"]] == [False, True]
    client.close()


def test_backups_and_restores_are_noted(installation: Installation, tmp_path: Path) -> None:
    made = back_up(
        installation.application.relational, installation.application.files, tmp_path / "archive", progress=silent
    )
    (event,) = installation.operator.call("GET", "/v1/audit", params={"action": "backup.made"})["items"]
    assert (event["subject_id"], event["key_id"], event["outcome"]) == (made.id, None, "done")
    opened = unlock(tmp_path / "archive", Key())
    bootstrap.restore(settings_for(one_machine(tmp_path / "restored")), opened, check(opened, silent), silent)
    with truth_of(tmp_path / "restored") as (relational, _), relational.read() as tx:
        (noted,) = tx.all("SELECT * FROM audit_events WHERE action LIKE 'backup.%'")
        assert (noted["action"], noted["subject_id"]) == ("backup.restored", made.id)


# --- Documents ------------------------------------------------------------------------------------------------------


def test_a_document_goes_though_another_has_what_an_older_version_of_it_said(client: Client) -> None:
    """The same content in another document is that document's, and no trace of the one that was erased."""
    for content in ("It said this once.", "It says that now."):
        added = client.call("POST", "/v1/documents", json={"text": content, "uri": "note:versions"})
    other = client.call("POST", "/v1/documents", json={"text": "It said this once."})
    assert other["document"]["id"] != added["document"]["id"]
    job = client.call("DELETE", f"/v1/documents/{added['document']['id']}")["job"]
    assert finished(client, job["id"])["state"] == "succeeded"
    assert client.call("GET", f"/v1/documents/{other['document']['id']}/content")["text"] == "It said this once."
