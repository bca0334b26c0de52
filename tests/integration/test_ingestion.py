"""From a document to what can be found, and back to nothing: on the real stores, one step after the other."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest
from stores import values

from pegasus.access import service as access
from pegasus.adapters import sqlite
from pegasus.application import Application
from pegasus.bootstrap import build, embedded
from pegasus.documents import service as documents
from pegasus.documents.service import Added
from pegasus.domain import Document, Filters, Job, Lane
from pegasus.errors import Unavailable
from pegasus.ingestion import intake
from pegasus.ingestion import service as ingestion
from pegasus.ingestion.tasks import UnpackTask
from pegasus.jobs import service as jobs
from pegasus.search.service import Mode
from pegasus.settings import load_settings

LABELS = ("Document", "Passage", "Entity")


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A whole application whose workers run when a test says so."""
    directory = tmp_path_factory.mktemp("data")
    made = build(load_settings(data=directory, embedder="hash"), directory)
    yield made
    made.close()


class Workspace:
    """A workspace of a test's own, with what the stores hold of it."""

    def __init__(self, application: Application) -> None:
        self.application, self.relational = application, application.relational
        self.vectors, self.graph = application.search._vectors, application.graph._graph
        with self.relational.write() as tx:
            self.id = access.create_workspace(tx, "test")

    def add(self, text: str, title: str | None = None, uri: str | None = None, tags: tuple[str, ...] = ()) -> Added:
        new = documents.new_text(text, title, uri, tags, max_characters=10**7)
        with self.relational.write() as tx:
            return intake.add_text(tx, self.id, new)

    def add_file(self, content: bytes, filename: str, uri: str | None = None) -> intake.TakenIn:
        upload = intake.Upload(filename, None, None, uri, (), {})
        stored = intake.store(self.application.files, self.id, io.BytesIO(content), upload, 10**8)
        with self.relational.write() as tx:
            taken = intake.add_file(tx, self.id, stored)
            kept = taken.added is None or documents.is_file_known(tx, stored.file_key)
        # As the API does.
        for unused in (None if kept else stored.file_key, taken.added and taken.added.replaced_file):
            if unused:
                self.application.files.delete(unused)
        return taken

    def add_zip(self, members: dict[str, bytes], filename: str = "notes.zip") -> str:
        taken = self.add_file(zipped(members), filename)
        assert taken.job
        self.work()
        return taken.job.id

    def work(self) -> None:
        """Run all jobs that there are; those that wait for another try, too."""
        for _ in range(200):
            self.sql("UPDATE jobs SET run_after = 0 WHERE state = 'queued'")
            if not any(worker.run_once() for worker in self.application.workers):
                return
        raise AssertionError("the workers never ran out of work")

    def sql(self, statement: str, **parameters: Any) -> int:
        with self.relational.write() as tx:
            return tx.execute(statement, parameters)

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        with self.relational.read() as tx:
            return [values(row) for row in tx.all(statement, {"w": self.id, **parameters})]

    def document(self, document_id: str) -> Document:
        with self.relational.read() as tx:
            return documents.get(tx, self.id, document_id)

    def job(self, job_id: str) -> Job:
        with self.relational.read() as tx:
            return jobs.get(tx, self.id, job_id)

    def items(self, job_id: str) -> dict[str, tuple[str, str]]:
        with self.relational.read() as tx:
            found = jobs.items(tx, self.id, job_id, 0, 100)
        return {item["name"]: (item["outcome"], item["state"]) for item in found}

    def text(self, document_id: str, version: int | None = None) -> str:
        with self.relational.read() as tx:
            return documents.read_text(tx, self.id, document_id, version).text

    def passages(self, document_id: str) -> dict[str, str]:
        return dict(self.rows("SELECT text, id FROM passages WHERE document_id = :id", id=document_id))

    def find(self, query: str, mode: Mode = Mode.LEXICAL, filters: Filters = Filters()) -> list[str]:
        return [
            f.passage.document_id for f in self.application.search.search(self.id, query, mode=mode, filters=filters)
        ]

    def erase(self, document_id: str) -> str:
        with self.relational.write() as tx:
            return ingestion.erase(tx, self.id, document_id).id

    def entity(self, name: str) -> str:
        ((id_,),) = self.rows("SELECT id FROM entities WHERE workspace_id = :w AND name = :name", name=name)
        return str(id_)

    def files(self) -> list[str]:
        return [key for key in self.application.files.stored_keys() if key.startswith(self.id)]

    def linked(self, *document_ids: str) -> list[tuple[str, str]]:
        return list(self.graph.linked(self.id, list(document_ids)))

    def snapshot(self) -> dict[str, Any]:
        """All that the stores hold of this workspace, times and jobs aside."""
        ids = "(SELECT id FROM passages WHERE workspace_id = :w)"
        return {
            "passages": self.rows("SELECT * FROM passages WHERE workspace_id = :w ORDER BY id"),
            "embeddings": self.rows(f"SELECT * FROM passage_embeddings WHERE passage_id IN {ids} ORDER BY 1"),
            "mentions": self.rows(f"SELECT * FROM mentions WHERE passage_id IN {ids} ORDER BY 1, 2"),
            "entities": self.rows("SELECT * FROM entities WHERE workspace_id = :w ORDER BY id"),
            "links": self.rows("SELECT * FROM links WHERE workspace_id = :w ORDER BY 1, 2"),
            "keys": self.rows("SELECT * FROM link_keys WHERE workspace_id = :w ORDER BY 2, 3"),
            "removals": self.rows("SELECT * FROM removals WHERE workspace_id = :w ORDER BY 2"),
            "documents": self.rows(
                "SELECT id, version, state, title FROM documents WHERE workspace_id = :w ORDER BY 1"
            ),
            "vectors": sorted(id_ for ids, _ in self.vectors.pages(self.id) for id_ in ids),
            **{label: sorted(self.graph.node_ids(self.id, label)) for label in LABELS},
        }

    def check_stores_agree(self) -> None:
        """Vectors and graph hold exactly what the rows say, and nothing is left to do."""
        now = self.snapshot()
        passage_ids = sorted(id_ for (id_,) in self.rows("SELECT id FROM passages WHERE workspace_id = :w"))
        assert now["vectors"] == now["Passage"] == passage_ids
        assert now["Entity"] == [row[0] for row in now["entities"]]
        assert now["removals"] == []
        assert not self.rows("SELECT 1 FROM passages WHERE workspace_id = :w AND indexed = 0")


@pytest.fixture
def workspace(idle: Application) -> Workspace:
    return Workspace(idle)


class WatchedFiles:
    """A workspace's file store, with something that happens first when a file is put into it."""

    def __init__(self, workspace: Workspace, before_put: Callable[[], None]) -> None:
        self._files, self._before_put = workspace.application.files, before_put

    def put(self, workspace_id: str, source: IO[bytes], max_bytes: int) -> tuple[str, str, int]:
        self._before_put()
        return self._files.put(workspace_id, source, max_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sections(*names: str) -> str:
    """A long text with a section, and so at least a passage, for each name."""
    return "\n\n".join(f"Part {name}\n\n{f'All about {name} and only about {name}. ' * 20}" for name in names)


# --- Adding -------------------------------------------------------------------------------------------------------


def test_a_text_is_found_by_words_at_once_and_by_meaning_when_indexed(workspace: Workspace) -> None:
    added = workspace.add("The albatross nests on Bird Island.", title="Birds")
    assert workspace.find("albatross") == [added.document.id]
    assert workspace.find("albatross", Mode.SEMANTIC) == []
    workspace.work()
    assert workspace.document(added.document.id).state == "ready"
    assert workspace.find("albatross", Mode.SEMANTIC) == [added.document.id]
    workspace.check_stores_agree()


def test_the_same_content_again_is_the_same_document_without_work(workspace: Workspace) -> None:
    first = workspace.add("The albatross nests.", tags=("a",))
    workspace.work()
    again = workspace.add("The albatross nests.", tags=("b",))
    assert (again.document.id, again.job, again.outcome) == (first.document.id, None, "unchanged")
    assert again.document.tags == ("a", "b")
    assert len(workspace.find("albatross")) == 1


def test_a_file_with_the_content_of_a_text_is_the_same_document(workspace: Workspace) -> None:
    first = workspace.add("The albatross nests.")
    workspace.work()
    taken = workspace.add_file(b"The albatross nests.", "birds.txt")
    assert taken.added
    assert (taken.added.document.id, taken.job) == (first.document.id, None)
    assert workspace.files() == []


def test_new_content_under_a_name_is_a_new_version_and_only_what_changed_is_new(workspace: Workspace) -> None:
    first = workspace.add(sections("anchors", "birds", "charts", "docks"), uri="notes:1", title="Notes")
    workspace.work()
    before, old = workspace.passages(first.document.id), workspace.text(first.document.id)
    second = workspace.add(sections("anchors", "birds", "currents", "docks"), uri="notes:1", title="Notes")
    assert (second.document.id, second.document.version, second.outcome) == (first.document.id, 2, "updated")
    after = workspace.passages(first.document.id)
    kept = before.keys() & after.keys()
    assert {before[text] for text in kept} == {after[text] for text in kept}
    assert len(kept) >= 2
    removed = {before[text] for text in before.keys() - after.keys()}
    assert removed
    assert {
        id_ for (id_,) in workspace.rows("SELECT id FROM removals WHERE kind = 'passage' AND workspace_id = :w")
    } == removed
    pending = workspace.rows("SELECT id FROM passages WHERE document_id = :d AND indexed = 0", d=first.document.id)
    assert {id_ for (id_,) in pending} == {after[text] for text in after.keys() - before.keys()}
    workspace.work()
    workspace.check_stores_agree()
    assert workspace.text(first.document.id, 1) == old
    assert "currents" in workspace.text(first.document.id)
    assert workspace.find("charts") == []
    assert set(workspace.find("currents")) == {first.document.id}


def test_a_kept_passage_stands_where_it_stands_now(workspace: Workspace) -> None:
    document_id = workspace.add(sections("anchors", "birds"), uri="notes:2", title="Notes").document.id
    workspace.add("A new opening.\n\n" + sections("anchors", "birds"), uri="notes:2", title="Notes")
    text = workspace.text(document_id)
    for start, end, stored, version in workspace.rows(
        "SELECT start_offset, end_offset, text, version FROM passages WHERE document_id = :d", d=document_id
    ):
        assert (text[start:end], version) == (stored, 2)


def test_versions_may_come_faster_than_they_are_indexed(workspace: Workspace) -> None:
    for n in range(5):
        added = workspace.add(sections(f"topic{n}", "birds"), uri="notes:3", title="Notes")
    workspace.work()
    assert (workspace.document(added.document.id).version, workspace.document(added.document.id).state) == (5, "ready")
    workspace.check_stores_agree()
    assert workspace.find("topic3") == []


def test_two_names_of_one_content_are_one_document_until_one_changes(workspace: Workspace) -> None:
    first = workspace.add("The albatross nests.", uri="a:1")
    assert workspace.add("The albatross nests.", uri="b:1").document.id == first.document.id
    changed = workspace.add("The cormorant nests.", uri="b:1")
    assert changed.document.id != first.document.id
    assert (workspace.document(first.document.id).uri, changed.document.uri) == ("a:1", "b:1")
    workspace.work()
    assert workspace.find("albatross") == [first.document.id]
    assert workspace.find("cormorant") == [changed.document.id]
    assert workspace.add("The gull nests.", uri="a:1").document.version == 2


def test_workspaces_share_nothing(idle: Application) -> None:
    one, two = Workspace(idle), Workspace(idle)
    mine, theirs = one.add("Ada Lovelace wrote it.", uri="x"), two.add("Ada Lovelace wrote it.", uri="x")
    assert mine.document.id != theirs.document.id
    one.work()
    assert one.entity("Ada Lovelace") != two.entity("Ada Lovelace")
    one.erase(mine.document.id)
    one.work()
    assert two.find("Lovelace") == [theirs.document.id]
    two.check_stores_agree()


def test_a_long_document_is_indexed_to_its_end(workspace: Workspace) -> None:
    added = workspace.add(sections(*(f"topic{n}" for n in range(150))))
    workspace.work()
    assert added.job
    assert workspace.job(added.job.id).result == {"passages": len(workspace.passages(added.document.id))}
    assert len(workspace.passages(added.document.id)) > 128
    workspace.check_stores_agree()


# --- Again --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lane", "step"), [("read", "extract"), ("index", "embed")])
@pytest.mark.parametrize("forget_indexed", [False, True], ids=["done", "crashed before it was noted"])
def test_a_step_that_runs_twice_changes_nothing(
    workspace: Workspace, lane: str, step: str, *, forget_indexed: bool
) -> None:
    added = workspace.add(f"See [[Other]].\n\n{sections('Ada Lovelace', 'birds')}", title="Notes")
    workspace.add("About Ada Lovelace.", title="Other")
    workspace.work()
    before, links = workspace.snapshot(), workspace.linked(added.document.id)
    assert len(links) == 1
    if forget_indexed:
        workspace.sql("UPDATE passages SET indexed = 0 WHERE workspace_id = :w", w=workspace.id)
    assert added.job
    workspace.sql(
        "UPDATE jobs SET state = 'queued', lane = :lane, step = :step, attempts = 0 WHERE workspace_id = :w",
        lane=lane, step=step, w=workspace.id,
    )  # fmt: skip
    workspace.work()
    assert workspace.job(added.job.id).state == "succeeded"
    assert workspace.snapshot() == before
    assert workspace.linked(added.document.id) == links


def test_an_erasure_that_runs_twice_changes_nothing(workspace: Workspace) -> None:
    added = workspace.add("The albatross nests.")
    workspace.work()
    job_id = workspace.erase(added.document.id)
    workspace.work()
    before = workspace.snapshot()
    workspace.sql("UPDATE jobs SET state = 'queued', attempts = 0 WHERE id = :id", id=job_id)
    workspace.work()
    assert workspace.job(job_id).state == "succeeded"
    assert workspace.snapshot() == before


def test_an_index_job_that_was_dead_makes_its_document_ready_when_retried(workspace: Workspace) -> None:
    added = workspace.add("The albatross nests.")
    assert added.job
    # Its process died each time.
    workspace.sql("UPDATE jobs SET attempts = 9, crashes = 9 WHERE id = :id", id=added.job.id)
    workspace.work()
    assert (workspace.job(added.job.id).state, workspace.document(added.document.id).state) == ("dead", "failed")
    with workspace.relational.write() as tx:
        jobs.retry(tx, workspace.id, added.job.id)
    workspace.work()
    assert workspace.job(added.job.id).state == "succeeded"
    assert (workspace.document(added.document.id).state, workspace.document(added.document.id).error) == ("ready", None)


def test_a_document_that_failed_is_tried_again_when_it_is_added_again(workspace: Workspace) -> None:
    broken = b"%PDF-1.7 broken"
    first = workspace.add_file(broken, "a.pdf")
    assert first.added
    workspace.work()
    assert workspace.document(first.added.document.id).state == "failed"
    again = workspace.add_file(broken, "a.pdf")
    assert again.added
    assert again.added.document.id == first.added.document.id
    assert again.job
    workspace.work()
    assert workspace.job(again.job.id).state == "failed"
    assert len(workspace.files()) == 1


def test_adding_a_document_again_mends_a_lost_file(workspace: Workspace) -> None:
    """The message for a lost file says: add the document again."""
    first = workspace.add_file(b"The albatross nests.", "birds.txt")
    assert first.added
    for key in workspace.files():
        workspace.application.files.delete(key)
    workspace.work()
    assert workspace.document(first.added.document.id).state == "failed"
    workspace.add_file(b"The albatross nests.", "birds.txt")
    workspace.work()
    assert workspace.document(first.added.document.id).state == "ready"


def test_a_document_whose_job_was_cancelled_is_tried_again_when_it_is_added_again(workspace: Workspace) -> None:
    first = workspace.add("The albatross nests.")
    assert first.job
    with workspace.relational.write() as tx:
        jobs.cancel(tx, workspace.id, first.job.id)
    workspace.add("The albatross nests.")
    workspace.work()
    assert workspace.document(first.document.id).state == "ready"


def test_the_documents_of_a_cancelled_archive_say_so_and_nothing_more_is_taken_in(workspace: Workspace) -> None:
    taken = workspace.add_file(zipped({f"{n}.txt": f"Text number {n}.".encode() for n in range(5)}), "five.zip")
    assert taken.job
    job_id = taken.job.id

    def cancel_at_the_third() -> None:
        if len(workspace.items(job_id)) == 2:
            with workspace.relational.write() as tx:
                ingestion.cancel(tx, workspace.id, job_id)

    files = WatchedFiles(workspace, cancel_at_the_third)
    task = UnpackTask(workspace.relational, files, workspace.application.signal, 10**8, 10**9)
    with workspace.relational.write() as tx:
        (job,) = jobs.claim(tx, Lane.READ, 1, fresh=True, owner="w", now=time.time(), lease_seconds=60, turns={})
    task.run([job], "w")
    workspace.work()
    assert workspace.job(job_id).state == "cancelled"
    assert list(workspace.items(job_id).values()) == [("created", "cancelled")] * 2
    documents_there = workspace.snapshot()["documents"]
    assert [row[2] for row in documents_there] == ["failed"] * 2, "they were never read"
    error = workspace.document(documents_there[0][0]).error
    assert error
    assert "cancelled" in error["detail"]
    assert len(workspace.files()) == 3, "the archive, and the two that were taken in"


def test_a_document_whose_indexing_was_cancelled_is_found_by_words_and_says_so(workspace: Workspace) -> None:
    added = workspace.add("The albatross nests.")
    assert added.job
    with workspace.relational.write() as tx:
        ingestion.cancel(tx, workspace.id, added.job.id)
    document = workspace.document(added.document.id)
    assert document.state == "searchable"
    assert "by its words" in (document.error or {})["detail"]
    assert workspace.find("albatross") == [added.document.id]
    with workspace.relational.write() as tx:
        jobs.retry(tx, workspace.id, added.job.id)
    workspace.work()
    assert (workspace.document(added.document.id).state, workspace.document(added.document.id).error) == ("ready", None)


def test_a_cancelled_document_is_no_fault_even_when_its_job_is_long_forgotten(workspace: Workspace) -> None:
    added = workspace.add("The albatross nests.")
    assert added.job
    assert workspace.application.integrity.check(workspace.id).consistent
    with workspace.relational.write() as tx:
        ingestion.cancel(tx, workspace.id, added.job.id)
        assert jobs.delete_finished(tx, time.time() + 60) > 0
        assert jobs.list_page(tx, workspace.id, None, None, None, 10).items == []
    assert workspace.application.integrity.check(workspace.id).differences == []


def test_what_a_late_worker_puts_in_after_an_erasure_is_taken_out_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that hung in the vector store while its job was given up, and the document erased."""
    kept = workspace.add("Ada Lovelace met Charles Babbage.", title="Kept")
    workspace.work()
    gone = workspace.add("Ada Lovelace knew Mary Somerville.", title="Gone")
    upsert = workspace.vectors.upsert
    indexer = workspace.application.workers[0]._worker._tasks["ingest"]._indexer
    with workspace.relational.read() as tx:
        pending = ingestion.repository.pending(tx, gone.document.id, 10)

    def hang(*arguments: Any) -> None:
        monkeypatch.undo()
        with workspace.relational.write() as tx:
            jobs.cancel(tx, workspace.id, gone.job.id)  # type: ignore[union-attr]
        workspace.erase(gone.document.id)
        workspace.work()
        upsert(*arguments)

    monkeypatch.setattr(workspace.vectors, "upsert", hang)
    indexer.index(pending)
    workspace.check_stores_agree()
    assert workspace.find("Lovelace") == [kept.document.id]


# --- Fair shares --------------------------------------------------------------------------------------------------


def test_a_note_is_indexed_with_the_first_slice_of_anothers_long_book(workspace: Workspace, idle: Application) -> None:
    book = "\n\n".join(f"Paragraph {n}. " + "Rain fell on the pier. " * 40 for n in range(400))
    workspace.add(book)
    other = Workspace(idle)
    note = other.add("The albatross nests.")
    idle.workers[1].run_once()
    assert other.document(note.document.id).state == "ready"
    assert workspace.rows("SELECT sum(indexed) FROM passages WHERE workspace_id = :w")[0][0] >= 64
    workspace.work()


# --- Erasing ------------------------------------------------------------------------------------------------------


def test_an_erasure_leaves_nothing_but_what_others_share(workspace: Workspace) -> None:
    kept = workspace.add("Ada Lovelace met Charles Babbage.", title="Kept", uri="kept:1")
    taken = workspace.add_file(b"# Gone\n\nAda Lovelace knew Mary Somerville well. See [[Kept]].", "gone.md")
    assert taken.added
    gone = taken.added.document.id
    workspace.work()
    workspace.add("Look at [[Gone]].", title="Pointer")
    workspace.work()
    shared, only = workspace.entity("Ada Lovelace"), workspace.entity("Mary Somerville")
    passages = set(workspace.passages(gone).values())
    assert len(workspace.linked(gone)) == 2
    assert len(workspace.files()) == 1

    job_id = workspace.erase(gone)
    assert workspace.find("Somerville") == [], "from the acceptance on nothing of it is found"
    workspace.work()

    assert workspace.job(job_id).state == "succeeded"
    for table in ("passages", "document_versions", "document_uris", "document_tags", "links", "link_keys", "removals"):
        assert workspace.rows(f"SELECT 1 FROM {table} WHERE document_id = :d", d=gone) == []
    assert workspace.rows("SELECT 1 FROM documents WHERE id = :d", d=gone) == []
    assert not passages & workspace.vectors.existing(workspace.id, list(passages))
    assert not passages & set(workspace.graph.node_ids(workspace.id, "Passage"))
    assert gone not in set(workspace.graph.node_ids(workspace.id, "Document"))
    assert only not in set(workspace.graph.node_ids(workspace.id, "Entity"))
    assert shared in set(workspace.graph.node_ids(workspace.id, "Entity"))
    assert workspace.linked(gone) == []
    assert workspace.files() == []
    assert workspace.find("Lovelace") == [kept.document.id]
    workspace.check_stores_agree()


def test_all_versions_and_their_files_are_erased(workspace: Workspace) -> None:
    for n in range(3):
        taken = workspace.add_file(f"Version {n}.".encode(), "v.txt", uri="file:///v.txt")
        workspace.work()
    assert taken.added
    assert len(workspace.files()) == 3
    workspace.erase(taken.added.document.id)
    workspace.work()
    assert workspace.files() == []
    workspace.check_stores_agree()


def test_a_document_can_be_erased_before_it_is_indexed(workspace: Workspace) -> None:
    added = workspace.add("The albatross nests.")
    workspace.erase(added.document.id)
    workspace.work()
    assert added.job
    assert workspace.job(added.job.id).state == "succeeded"
    assert workspace.snapshot()["documents"] == []
    workspace.check_stores_agree()


def test_erased_content_can_be_added_again_at_once(workspace: Workspace) -> None:
    first = workspace.add("The albatross nests.", uri="birds:1")
    workspace.work()
    workspace.erase(first.document.id)
    second = workspace.add("The albatross nests.", uri="birds:1")
    assert second.document.id != first.document.id
    workspace.work()
    assert workspace.find("albatross") == [second.document.id]
    workspace.check_stores_agree()


def test_the_receipt_says_what_was_removed_even_if_the_job_was_interrupted(workspace: Workspace) -> None:
    taken = workspace.add_file(b"Ada Lovelace wrote it.", "ada.txt")
    assert taken.added
    workspace.work()
    count = len(workspace.passages(taken.added.document.id))
    job_id = workspace.erase(taken.added.document.id)
    # What an erasure does first, in a process that is killed before it can note the end.
    eraser = workspace.application.workers[0]._worker._tasks["erase"]._eraser
    eraser._indexer.forget(workspace.id, taken.added.document.id)
    workspace.work()
    result = workspace.job(job_id).result
    assert result
    assert (result["removed"]["passages"], result["removed"]["files"]) == (count, 1)


# --- Links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "in one batch"])
@pytest.mark.parametrize("target_first", [False, True])
def test_a_link_is_resolved_whichever_end_comes_first(
    workspace: Workspace, *, target_first: bool, together: bool
) -> None:
    source, target = (
        ("See [[Harbour]] and [it](b.md).", "A", "file:///n/a.md"),
        ("The port.", "Harbour", "file:///n/b.md"),
    )
    ids = {}
    for text, title, uri in (target, source) if target_first else (source, target):
        ids[title] = workspace.add(text, title=title, uri=uri).document.id
        if not together:
            workspace.work()
    workspace.work()
    assert workspace.linked(ids["A"]) == [(ids["A"], ids["Harbour"])]


def test_a_link_that_a_new_version_no_longer_has_is_gone(workspace: Workspace) -> None:
    target = workspace.add("The port.", title="Harbour").document.id
    source = workspace.add("See [[Harbour]].", uri="n:1").document.id
    workspace.work()
    assert workspace.linked(target) == [(source, target)]
    workspace.add("See nothing.", uri="n:1")
    workspace.work()
    assert workspace.linked(target) == []


def test_a_link_to_a_title_that_a_new_version_no_longer_has_is_gone(workspace: Workspace) -> None:
    source = workspace.add("See [[Harbour]].", title="A").document.id
    target = workspace.add("The port.", title="Harbour", uri="n:2").document.id
    workspace.work()
    assert workspace.linked(source) == [(source, target)]
    workspace.add("Mountains.", title="Mountains", uri="n:2")
    workspace.work()
    assert workspace.linked(source) == []


def test_a_link_to_a_further_name_of_a_document_is_resolved(workspace: Workspace) -> None:
    target = workspace.add("The port.", title="P", uri="file:///n/one.md").document.id
    workspace.add("The port.", title="P", uri="file:///n/two.md")
    source = workspace.add("See [it](two.md).", title="A", uri="file:///n/a.md").document.id
    workspace.work()
    assert workspace.linked(source) == [(source, target)]


def test_a_link_follows_a_name_that_now_stands_for_another_document(workspace: Workspace) -> None:
    workspace.add("The port.", title="P", uri="file:///n/one.md")
    workspace.add("The port.", title="P", uri="file:///n/two.md")
    source = workspace.add("See [it](one.md).", title="A", uri="file:///n/a.md").document.id
    workspace.work()
    target = workspace.add("Another port.", title="P2", uri="file:///n/one.md").document.id
    workspace.work()
    assert workspace.linked(source) == [(source, target)]


# --- Archives -----------------------------------------------------------------------------------------------------


def test_each_member_of_an_archive_has_its_own_outcome(workspace: Workspace) -> None:
    job_id = workspace.add_zip({
        "good.md": b"# Birds\n\nThe albatross nests.",
        "sub/also good.txt": b"The cormorant dives.",
        "broken.pdf": b"%PDF-1.7 broken",
        "nested.zip": zipped({"a.txt": b"hidden"}),
        "../climbing.txt": b"escaped",
        "empty.txt": b"",
        "same.txt": b"The cormorant dives.",
        "binary.bin": bytes(range(256)),
    })  # fmt: skip
    assert workspace.items(job_id) == {
        "good.md": ("created", "succeeded"),
        "sub/also good.txt": ("created", "succeeded"),
        "broken.pdf": ("created", "failed"),
        "nested.zip": ("refused", "failed"),
        "../climbing.txt": ("refused", "failed"),
        "empty.txt": ("created", "failed"),
        "same.txt": ("unchanged", "succeeded"),
        "binary.bin": ("created", "failed"),
    }
    assert workspace.job(job_id).state == "succeeded"
    assert workspace.job(job_id).result == {"items": 8, "failed": 5}
    assert len(workspace.find("albatross")) == len(workspace.find("cormorant")) == 1
    assert workspace.find("escaped") == workspace.find("hidden") == []
    assert len(workspace.files()) == 5, "one of each document, none of the archive or of what was refused"


def test_the_same_archive_again_makes_nothing_new(workspace: Workspace) -> None:
    members = {"a.txt": b"The albatross nests.", "b.txt": b"The cormorant dives."}
    workspace.add_zip(members)
    before, files = workspace.snapshot(), workspace.files()
    again = workspace.add_zip(members)
    assert set(workspace.items(again).values()) == {("unchanged", "succeeded")}
    assert workspace.snapshot() == before
    assert sorted(workspace.files()) == sorted(files)


def test_an_archive_that_a_crash_interrupted_is_taken_up_where_it_was(workspace: Workspace) -> None:
    taken = workspace.add_file(zipped({f"{n}.txt": f"Text number {n}.".encode() for n in range(5)}), "five.zip")
    assert taken.job
    room = iter(range(2))

    def full_after_two() -> None:
        if next(room, None) is None:
            raise Unavailable("The disk is full.")

    files = WatchedFiles(workspace, full_after_two)
    task = UnpackTask(workspace.relational, files, workspace.application.signal, 10**8, 10**9)
    with workspace.relational.write() as tx:
        (job,) = jobs.claim(tx, Lane.READ, 9, fresh=True, owner="killed", now=time.time(), lease_seconds=60, turns={})
    with pytest.raises(Unavailable):
        task.run([job], "killed")
    assert len(workspace.items(job.id)) == 2
    with workspace.relational.write() as tx:
        jobs.recover(tx)
    workspace.work()
    assert workspace.items(taken.job.id) == {f"{n}.txt": ("created", "succeeded") for n in range(5)}
    assert workspace.job(taken.job.id).result == {"items": 5, "failed": 0}
    assert len(workspace.snapshot()["documents"]) == 5


def test_a_damaged_member_leaves_no_file_behind(workspace: Workspace) -> None:
    content = bytearray(zipped({"good.txt": b"The albatross nests.", "bad.txt": b"x" * 600_000}))
    content[content.index(b"x" * 100) + 500_000] = ord("y")
    taken = workspace.add_file(bytes(content), "damaged.zip")
    assert taken.job
    workspace.work()
    assert workspace.items(taken.job.id) == {"good.txt": ("created", "succeeded"), "bad.txt": ("refused", "failed")}
    assert len(workspace.files()) == 1


def test_documents_of_an_archive_link_to_each_other_by_path(workspace: Workspace) -> None:
    workspace.add_zip({"notes/a.md": b"# A\n\nSee [the other](b.md).", "notes/b.md": b"# B\n\nNothing."})
    ids = {row[3]: row[0] for row in workspace.snapshot()["documents"]}
    assert workspace.linked(ids["A"]) == [(ids["A"], ids["B"])]


def test_a_broken_archive_says_why(workspace: Workspace) -> None:
    taken = workspace.add_file(zipped({"a.txt": b"text"})[:-30], "cut.zip")
    workspace.work()
    assert taken.job
    job = workspace.job(taken.job.id)
    assert job.state == "failed"
    assert "archive" in json.dumps(job.error) or "ZIP" in json.dumps(job.error)


@pytest.mark.embedded("nothing is swept from a bucket, which test_servers shows")
def test_the_file_of_an_archive_that_failed_for_good_is_swept_at_the_next_start(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path, embedder="hash")
    application = build(settings, tmp_path)
    workspace = Workspace(application)
    taken = workspace.add_file(zipped({"a.txt": b"text"}), "a.zip")
    assert taken.job
    with workspace.relational.write() as tx:
        jobs.cancel(tx, workspace.id, taken.job.id)
    assert len(workspace.files()) == 1
    application.close()
    with embedded(settings) as restarted:
        assert list(restarted.files.stored_keys()) == []


# --- Searching ----------------------------------------------------------------------------------------------------


def test_a_filtered_search_needs_one_reader_not_two(workspace: Workspace) -> None:
    """Else as many searches at once as there are readers hold one each and wait for another for ever."""
    added = workspace.add("The albatross nests.", tags=("birds",))
    workspace.work()
    found: list[list[str]] = []
    with ExitStack() as others:
        for _ in range(sqlite._READERS - 1):
            others.enter_context(workspace.relational.read())
        search = threading.Thread(
            target=lambda: found.append(workspace.find("albatross", Mode.HYBRID, Filters(tags=("birds",)))), daemon=True
        )
        search.start()
        search.join(20)
        stuck = search.is_alive()
    search.join(10)
    assert found == [[added.document.id]]
    assert not stuck
