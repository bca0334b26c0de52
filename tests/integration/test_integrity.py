"""Whether the stores agree: faults are planted behind the application's back, found, and mended."""

from __future__ import annotations

import io
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import finished
from stores import change_graph, differences, values

from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.application import Application
from pegasus.bootstrap import embedded
from pegasus.client import Client
from pegasus.domain import Entity
from pegasus.identifiers import new_id, sha256_hex
from pegasus.integrity.check import Check, Difference
from pegasus.integrity.rebuild import compact_when_due
from pegasus.integrity.text import restored_text
from pegasus.ports import GraphPassage
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

SEED = 20261123
PEOPLE = ("Ada Lovelace", "Charles Babbage", "Grace Hopper", "Alan Turing", "Mary Somerville", "Luigi Menabrea")


@dataclass
class Installation:
    """A Pegasus of the test's own, with its stores laid open."""

    application: Application
    client: Client
    workspace_id: str
    random: random.Random = field(default_factory=lambda: random.Random(SEED))

    @property
    def directory(self) -> Path:
        return self.application.settings.data

    @property
    def vectors(self) -> Any:
        return self.application.search._vectors

    @property
    def graph(self) -> Any:
        return self.application.search._graph

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        """As somebody would who opens the rows with another program."""
        if isinstance(self.application.relational, PostgresRelationalStore):
            named = {f"p{n}": value for n, value in enumerate(parameters)}
            for name in named:
                statement = statement.replace("?", f":{name}", 1)
            if statement.startswith("SELECT"):
                with self.application.relational.read() as tx:
                    return [values(row) for row in tx.all(statement, named)]
            with self.application.relational.write() as tx:
                tx.execute(statement, named)
            return []
        with closing(sqlite3.connect(self.directory / "pegasus.sqlite3", timeout=10)) as connection, connection:
            return connection.execute(statement, parameters).fetchall()

    def check(self) -> dict[str, Any]:
        report: dict[str, Any] = self.client.call("GET", "/v1/integrity")
        return report

    def repair(self) -> list[dict[str, Any]]:
        job = finished(self.client, self.client.call("POST", "/v1/integrity/repair")["job"]["id"])
        assert job["state"] == "succeeded", job
        return list(self.client.lines(f"/v1/jobs/{job['id']}/results"))

    def add_text(self, text: str, title: str | None = None, uri: str | None = None) -> str:
        body = {"text": text, "title": title or "Note", **({"uri": uri} if uri else {})}
        added = self.client.call("POST", "/v1/documents", json=body)
        finished(self.client, added["job"]["id"])
        return str(added["document"]["id"])

    def add_file(self, name: str, content: bytes) -> str:
        added = self.client.call("POST", "/v1/documents", files={"file": (name, content)})
        assert finished(self.client, added["job"]["id"])["state"] == "succeeded"
        return str(added["document"]["id"])

    def passages(self, document_id: str) -> list[str]:
        return [row[0] for row in self.sql("SELECT id FROM passages WHERE document_id = ? ORDER BY seq", document_id)]

    def file_key(self, document_id: str) -> str:
        (row,) = self.sql("SELECT file_key FROM document_versions WHERE document_id = ?", document_id)
        return str(row[0])

    def lose_file(self, document_id: str) -> None:
        self.application.files.delete(self.file_key(document_id))


def story(random_: random.Random, number: int, paragraphs: int = 4) -> str:
    """A text of several passages that mentions people, and links to its neighbour."""
    lines = [f"# Story {number}", f"It goes on in [[Story {number + 1}]]."]
    for n in range(paragraphs):
        one, other = random_.sample(PEOPLE, 2)
        words = " ".join(random_.choices(("engine", "letter", "number", "river", "lamp", "garden", "clock"), k=60))
        lines.append(f"## Part {n}\n\n{one} wrote to {other} about the {words} in {random_.randint(1800, 1900)}.")
    return "\n\n".join(lines) + "\n"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path / "data") as installed_:
        yield installed_


@contextmanager
def installed(directory: Path) -> Iterator[Installation]:
    settings = load_settings(data=directory, embedder="hash", parse_timeout_seconds=10)
    with embedded(settings) as application, serving_in_background(application) as address:
        with application.relational.write() as tx:
            workspace_id = access.ensure_workspace(tx)
            _, key = access.create_key(tx, workspace_id, "test", scope=Scope.OPERATOR)
        client = Client(address, key)
        yield Installation(application, client, workspace_id)
        client.close()


def kinds(report: dict[str, Any]) -> Counter[str]:
    return Counter(report["counts"])


# --- One fault at a time ------------------------------------------------------------------------------------------


def lose_vector(i: Installation, document: str) -> None:
    i.vectors.delete(i.workspace_id, i.passages(document)[:1])


def turn_vector(i: Installation, document: str) -> None:
    vector = np.random.default_rng(1).normal(size=(1, 384)).astype(np.float32)
    i.vectors.upsert(i.workspace_id, i.passages(document)[:1], vector / np.linalg.norm(vector))


def turn_embedding(i: Installation, document: str) -> None:
    vector = np.random.default_rng(2).normal(size=384).astype("<f4")
    blob = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()
    i.sql("UPDATE passage_embeddings SET vector = ? WHERE passage_id = ?", blob, i.passages(document)[0])


def another_model(i: Installation, document: str) -> None:
    i.sql("UPDATE passage_embeddings SET model = 'older' WHERE passage_id = ?", i.passages(document)[0])


def lose_embedding(i: Installation, document: str) -> None:
    i.sql("DELETE FROM passage_embeddings WHERE passage_id = ?", i.passages(document)[0])


def stray_vector(i: Installation, _document: str) -> None:
    i.vectors.upsert(i.workspace_id, [new_id()], np.eye(1, 384, dtype=np.float32))


def stray_nodes(i: Installation, _document: str) -> None:
    ghost = new_id()
    i.graph.upsert_documents(i.workspace_id, {ghost: "Ghost"})
    i.graph.upsert_passages(i.workspace_id, [Entity(new_id(), "Nobody", "name")], [GraphPassage(new_id(), ghost, [])])


def lose_node(i: Installation, document: str) -> None:
    i.graph.delete_passages(i.workspace_id, i.passages(document)[:1])


def lose_entity(i: Installation, _document: str) -> None:
    i.graph.delete_entities(i.workspace_id, [i.sql("SELECT id FROM entities ORDER BY id LIMIT 1")[0][0]])


def rename_entity(i: Installation, _document: str) -> None:
    change_graph(i.graph, "MATCH (e:Entity {name: 'Ada Lovelace'}) SET e.name = 'Somebody Else'")


def extra_mention(i: Installation, document: str) -> None:
    change_graph(
        i.graph,
        "MATCH (p:Passage {id: $p}) MATCH (e:Entity {name: 'Ada Lovelace'}) CREATE (p)-[:MENTIONS]->(e)",
        p=i.passages(document)[0],
    )


def lose_links(i: Installation, document: str) -> None:
    i.graph.set_links(i.workspace_id, {document: []})


def retitle_node(i: Installation, document: str) -> None:
    i.graph.upsert_documents(i.workspace_id, {document: "Another title"})


def change_text(i: Installation, document: str) -> None:
    i.sql("UPDATE document_versions SET text = replace(text, 'wrote', 'WROTE') WHERE document_id = ?", document)


def shorten_text(i: Installation, document: str) -> None:
    i.sql("UPDATE document_versions SET text = replace(text, 'wrote to', 'met') WHERE document_id = ?", document)


def change_passage(i: Installation, document: str) -> None:
    i.sql("UPDATE passages SET text = text || ' and more' WHERE id = ?", i.passages(document)[0])


def retitle_passage(i: Installation, document: str) -> None:
    i.sql("UPDATE passages SET heading = 'Forged' WHERE id = ?", i.passages(document)[0])


def unindex_words(i: Installation, document: str) -> None:
    with i.application.relational.write() as tx:
        tx.unindex_words(i.workspace_id, i.passages(document)[:1])


def forge_words(i: Installation, document: str) -> None:
    if isinstance(i.application.relational, PostgresRelationalStore):
        i.sql("UPDATE words SET vector = vector || 'forged:1'::tsvector WHERE passage_id = ?", i.passages(document)[0])
        return
    table = f"words_{i.workspace_id.replace('-', '')}"
    (seq,) = i.sql("SELECT seq FROM passages WHERE id = ?", i.passages(document)[0])[0]
    i.sql(f"INSERT INTO {table} (rowid, title, heading, text) VALUES (?, '', '', 'forged words')", seq)


def drop_words(i: Installation, _document: str) -> None:
    with i.application.relational.write() as tx:
        tx.drop_words(i.workspace_id)


def forget_job(i: Installation, document: str) -> None:
    i.sql("UPDATE documents SET state = 'searchable' WHERE id = ?", document)
    i.sql("DELETE FROM jobs WHERE document_id = ?", document)


def unmark(i: Installation, document: str) -> None:
    i.sql("UPDATE passages SET indexed = 0 WHERE document_id = ?", document)


def leave_removal(i: Installation, document: str) -> None:
    i.sql("INSERT INTO removals VALUES ('passage', ?, ?, ?)", new_id(), i.workspace_id, document)


def stray_entity(i: Installation, _document: str) -> None:
    i.sql("INSERT INTO entities VALUES (?, ?, 'nobody', 'Nobody', 'name')", new_id(), i.workspace_id)


FAULTS: dict[str, tuple[Callable[[Installation, str], None], set[str]]] = {
    "a vector is lost": (lose_vector, {"vectors:missing"}),
    "a vector is another": (turn_vector, {"vectors:stale"}),
    "an embedding's row is another": (turn_embedding, {"vectors:stale"}),
    "an embedding is of another model": (another_model, {"rows:embedding-stale"}),
    "an embedding's row is lost": (lose_embedding, {"rows:embedding-stale"}),
    "a vector belongs to nothing": (stray_vector, {"vectors:orphan"}),
    "nodes belong to nothing": (stray_nodes, {"graph:orphan"}),
    "a passage's node is lost": (lose_node, {"graph:differs"}),
    "an entity's node is lost": (lose_entity, {"graph:differs"}),
    "an entity has another name": (rename_entity, {"graph:entity-differs"}),
    "a passage mentions too much": (extra_mention, {"graph:differs"}),
    "a document's links are lost": (lose_links, {"graph:differs"}),
    "a document's node has another title": (retitle_node, {"graph:differs"}),
    "a text was changed": (change_text, {"rows:text-changed", "rows:passage-changed"}),
    "a text was shortened": (shorten_text, {"rows:text-changed", "rows:passage-changed"}),
    "a passage was changed": (change_passage, {"rows:passage-changed", "full-text:differs"}),
    "a passage's heading was changed": (retitle_passage, {"rows:passage-changed", "full-text:differs"}),
    "a passage is not in the full text": (unindex_words, {"full-text:missing"}),
    "the full text has other words": (forge_words, {"full-text:differs"}),
    "the full text is gone": (drop_words, {"full-text:missing"}),
    "a document's job is lost": (forget_job, {"rows:stuck"}),
    "a ready document was not indexed": (unmark, {"rows:not-indexed"}),
    "something was never forgotten": (leave_removal, {"rows:not-forgotten"}),
    "an entity is mentioned nowhere": (stray_entity, {"rows:entity-unmentioned"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_told_and_mended(installation: Installation, fault: str) -> None:
    documents = [
        installation.add_text(story(installation.random, n), f"Story {n}", f"https://example.org/{n}") for n in range(4)
    ]
    assert installation.check()["consistent"], installation.check()
    before = installation.client.call("POST", "/v1/search", json={"query": "Ada Lovelace letter"})["passages"]
    plant, expected = FAULTS[fault]
    plant(installation, documents[1])
    report = installation.check()
    assert not report["consistent"]
    assert set(report["counts"]) == expected
    results = installation.repair()
    assert results
    assert {result["outcome"] for result in results} == {"repaired"}
    again = installation.check()
    assert again["consistent"], again["differences"]
    assert differences(installation.application) == []
    after = installation.client.call("POST", "/v1/search", json={"query": "Ada Lovelace letter"})["passages"]
    assert [p["text"] for p in after] == [p["text"] for p in before]


def test_a_lost_original_is_written_again_where_it_is_its_text(installation: Installation) -> None:
    document = installation.add_file("story.md", b"# Title\n\nAda wrote it.\n")
    installation.lose_file(document)
    report = installation.check()
    assert kinds(report) == {"files:missing": 1}
    assert report["differences"][0]["document_id"] == document
    installation.repair()
    assert installation.check()["consistent"]
    with installation.application.files.path(installation.file_key(document)) as path:
        assert path.read_bytes() == b"# Title\n\nAda wrote it.\n"


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_lost_original_that_cannot_be_made_again_is_said_to_be_lost(installation: Installation, fault: str) -> None:
    document = installation.add_file("page.html", b"<html><title>Page</title><p>Ada wrote it.</p></html>")
    key = installation.file_key(document)
    installation.lose_file(document)
    if fault == "changed":
        installation.application.files.put_back(key, io.BytesIO(b"something else"))
    assert kinds(installation.check()) == {f"files:{fault}": 1}
    (result,) = installation.repair()
    assert "the original file is lost" in result["name"]
    assert installation.check()["consistent"]
    assert key not in installation.application.files.stored_keys()
    content = installation.client.call("GET", f"/v1/documents/{document}/content")
    assert "Ada wrote it." in content["text"]


def test_a_text_that_nothing_proves_is_left_and_told(installation: Installation) -> None:
    document = installation.add_text("Ada wrote it.", "Note")
    installation.sql("UPDATE document_versions SET text = 'Forged.' WHERE document_id = ?", document)
    installation.sql("UPDATE passages SET text = 'Forged.', sha256 = 'x' WHERE document_id = ?", document)
    results = installation.repair()
    left = [result for result in results if result["outcome"] == "left"]
    assert left
    assert "backup" in left[0]["error"]["hint"]
    assert not installation.check()["consistent"]


def test_an_answer_that_cites_what_is_gone_is_found_and_emptied(installation: Installation) -> None:
    document = installation.add_text("The lighthouse keeper is called Isolde Tern.", "Keepers")
    session = installation.client.call("POST", "/v1/sessions", json={})["id"]
    question = {"content": "Who is the lighthouse keeper?"}
    installation.client.call("POST", f"/v1/sessions/{session}/messages", json=question)
    (before,) = installation.sql("SELECT citations, content FROM messages WHERE role = 'assistant'")
    erasure = installation.client.call("DELETE", f"/v1/documents/{document}")["job"]
    finished(installation.client, erasure["id"])
    installation.sql("UPDATE messages SET citations = ?, content = ? WHERE role = 'assistant'", *before)
    report = installation.check()
    assert report["counts"]["answers:cites-gone"] == 1
    installation.repair()
    assert "Isolde" not in installation.sql("SELECT content FROM messages WHERE role = 'assistant'")[0][0]


def test_files_of_nobody_are_found_over_the_whole_installation(installation: Installation) -> None:
    installation.add_file("story.md", b"Ada wrote it.")
    installation.application.files.put_back(f"{installation.workspace_id}/aa/{'a' * 32}", io.BytesIO(b"stray"))
    report = installation.application.integrity.check()
    assert report.by_kind == {"files:orphan": 1}


# --- Many faults --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_200_faults_of_five_kinds_are_all_found_and_mended_and_none_is_imagined(installation: Installation) -> None:
    """Missing vectors, stale embeddings, orphan nodes, missing files, changed texts: 40 of each, one a document."""
    chosen = installation.random
    body = "".join(f'{{"title": "Story {n}", "text": {_json(story(chosen, n, paragraphs=2))}}}\n' for n in range(160))
    job = installation.client.call("POST", "/v1/documents/batch", content=body.encode())["job"]
    finished(installation.client, job["id"])
    texts = [item["document_id"] for item in installation.client.lines(f"/v1/jobs/{job['id']}/results")]
    files = [installation.add_file(f"story{n}.md", story(chosen, 1000 + n, paragraphs=1).encode()) for n in range(40)]
    assert installation.check()["consistent"]
    planted: dict[str, set[str | None]] = {}
    groups = [texts[n * 40 : (n + 1) * 40] for n in range(3)]
    for name, plant, documents in (
        ("vectors:missing", lose_vector, groups[0]),
        ("vectors:stale", turn_embedding, groups[1]),
        ("rows:text-changed", change_text, groups[2]),
        ("files:missing", Installation.lose_file, files),
    ):
        for document in documents:
            plant(installation, document)
        planted[name] = set(documents)
    ghosts = [new_id() for _ in range(40)]
    for ghost in ghosts:
        installation.graph.upsert_documents(installation.workspace_id, {ghost: "Ghost"})
    found = list(_new_check(installation).run(installation.workspace_id))
    by_kind: dict[str, set[str | None]] = {}
    for difference in found:
        if isinstance(difference, Difference):
            by_kind.setdefault(difference.kind, set()).add(difference.document_id)
    for name, documents in planted.items():
        assert by_kind.pop(name) == documents, name
    (orphans,) = (d for d in found if isinstance(d, Difference) and d.kind == "graph:orphan")
    assert set(orphans.ids) == set(ghosts)
    by_kind.pop("graph:orphan")
    # A text that was changed does not agree with its passages either; nothing else is told of.
    assert by_kind == {"rows:passage-changed": planted["rows:text-changed"]}
    assert {result["outcome"] for result in installation.repair()} == {"repaired"}
    assert installation.check()["consistent"]
    assert differences(installation.application) == []


def _json(text: str) -> str:
    import json

    return json.dumps(text)


def _new_check(installation: Installation) -> Check:
    return installation.application.integrity._new_check()


def test_a_check_during_imports_and_erasures_imagines_nothing(installation: Installation) -> None:
    chosen = installation.random
    ids: list[str] = []
    for round_ in range(6):
        body = "".join(f'{{"text": {_json(story(chosen, round_ * 100 + n, paragraphs=1))}}}\n' for n in range(30))
        job = installation.client.call("POST", "/v1/documents/batch", content=body.encode())["job"]
        report = installation.check()
        assert report["consistent"], report["differences"]
        ids += [item["document_id"] for item in installation.client.lines(f"/v1/jobs/{job['id']}/results")]
        for id_ in ids[:10]:
            installation.client.call("DELETE", f"/v1/documents/{id_}")
        del ids[:10]
        report = installation.check()
        assert report["consistent"], report["differences"]


def test_a_job_that_ends_between_the_graph_and_the_rows_is_no_fault(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    document_id = installation.add_text(story(installation.random, 1))
    facts = type(installation.graph).facts

    def job_is(state: str) -> None:
        with installation.application.relational.write() as tx:
            tx.execute("UPDATE jobs SET state = :state WHERE document_id = :id", {"state": state, "id": document_id})

    def lacking(graph: Any, workspace_id: str, one: str | None = None) -> Iterator[Any]:
        yield from [fact for fact in facts(graph, workspace_id, one) if fact[1] != "passage"]

    def as_of_before(graph: Any, workspace_id: str, one: str | None = None) -> Iterator[Any]:
        yield from lacking(graph, workspace_id, one)
        job_is("running" if one is None else "succeeded")

    monkeypatch.setattr(type(installation.graph), "facts", as_of_before)
    report = installation.check()
    assert report["consistent"], report["differences"]
    monkeypatch.setattr(type(installation.graph), "facts", lacking)
    assert kinds(installation.check()) == {"graph:differs": 1}, "and without a job it is one"


@pytest.mark.slow
@pytest.mark.embedded("a file of the vectors' is removed")
def test_vectors_that_chroma_has_lost_behind_its_count_are_noticed_and_made_again(tmp_path: Path) -> None:
    """As two processes on one directory lose them. Chroma keeps vectors in files of their own from a thousand on."""
    with installed(tmp_path / "data") as installation:
        body = "".join(f'{{"text": "Note {n} of the tide."}}\n' for n in range(1100))
        job = installation.client.call("POST", "/v1/documents/batch", content=body.encode())["job"]
        finished(installation.client, job["id"])
    (segment,) = (path for path in (tmp_path / "data" / "vectors").iterdir() if path.is_dir())
    shutil.rmtree(segment)
    with installed(tmp_path / "data") as installation:
        assert kinds(installation.check()) == {"vectors:damaged": 1}
        installation.repair()
        assert installation.check()["consistent"]
        assert differences(installation.application) == []


# --- Rebuilt, compacted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stores", [["vectors"], ["graph"], ["fulltext"], ["vectors", "graph", "fulltext"]])
def test_a_store_that_was_emptied_is_rebuilt(installation: Installation, stores: list[str]) -> None:
    documents = [installation.add_text(story(installation.random, n), f"Story {n}") for n in range(3)]
    passages = [id_ for document in documents for id_ in installation.passages(document)]
    if "vectors" in stores:
        installation.vectors.delete(installation.workspace_id, passages)
    if "graph" in stores:
        installation.graph.delete_passages(installation.workspace_id, passages)
    if "fulltext" in stores:
        drop_words(installation, "")
    assert not installation.check()["consistent"]
    job = installation.client.call("POST", "/v1/integrity/rebuild", json={"stores": stores})["job"]
    assert finished(installation.client, job["id"])["state"] == "succeeded"
    report = installation.check()
    assert report["consistent"], report["differences"]
    assert differences(installation.application) == []


@pytest.mark.embedded("what servers keep in their files is left to them, which test_servers shows")
def test_an_erasure_is_purged_by_itself_after_a_time_and_not_over_and_over(installation: Installation) -> None:
    def due(after_seconds: float) -> int:
        with installation.application.relational.write() as tx:
            return compact_when_due(tx, after_seconds)

    assert due(0) == 0  # Nothing was erased.
    document = installation.add_text(story(installation.random, 1), "Short-lived")
    job = installation.client.call("DELETE", f"/v1/documents/{document}")["job"]
    finished(installation.client, job["id"])
    assert due(3600) == 0
    assert [due(0), due(0)] == [1, 0]  # The second finds the first at work.
    installation.application.signal.notify_all()
    (event,) = [e for e in installation.client.call("GET", "/v1/audit")["items"] if e["action"] == "compaction.started"]
    assert finished(installation.client, event["subject_id"])["result"]["erasures_purged"] == 1
    assert due(0) == 0


@pytest.mark.embedded("it is about SQLite's own file")
def test_no_byte_of_an_erased_document_is_left_after_compaction(installation: Installation) -> None:
    kept = installation.add_text(story(installation.random, 1), "Kept")
    secret = "The zanzibarite crystal was hidden by Quillon Featherstonehaugh beneath the xylotheque."
    gone = [
        installation.add_text(f"{secret} Note {n}. " + story(installation.random, 50 + n), f"Zanzibarite {n}")
        for n in range(3)
    ]
    gone.append(installation.add_file("zanzibarite-plan.md", f"# Zanzibarite\n\n{secret}\n".encode()))
    session = installation.client.call("POST", "/v1/sessions", json={})["id"]
    installation.client.call("POST", f"/v1/sessions/{session}/messages", json={"content": "Who hid the crystal?"})
    passages = [id_ for document in gone for id_ in installation.passages(document)]
    vectors = [
        row[0]
        for row in installation.sql(
            "SELECT vector FROM passage_embeddings e JOIN passages p ON p.id = e.passage_id WHERE p.document_id = ?",
            gone[0],
        )
    ]
    digests = [row[0] for row in installation.sql("SELECT sha256 FROM documents WHERE id <> ?", kept)]
    for document in gone:
        job = installation.client.call("DELETE", f"/v1/documents/{document}")["job"]
        assert finished(installation.client, job["id"])["state"] == "succeeded"
        receipt = installation.client.call("GET", f"/v1/erasures/{document}")
        assert receipt == installation.client.call("GET", f"/v1/erasures/{job['id']}")
        assert receipt["state"] == "verified"
        assert {look["left"] for look in receipt["looks"]} == {0}
        assert {look["store"] for look in receipt["looks"]} == {
            "rows", "full text", "answers", "replies", "vectors", "graph", "files",
        }  # fmt: skip
    job = installation.client.call("POST", "/v1/integrity/compact")["job"]
    assert finished(installation.client, job["id"])["result"]["erasures_purged"] == 4
    receipt = installation.client.call("GET", f"/v1/erasures/{gone[0]}")
    assert receipt["state"] == "purged"
    content = b"".join(file.read_bytes() for file in installation.directory.rglob("*") if file.is_file())
    lowered = content.lower()
    for word in (b"zanzibarite", b"featherstonehaugh", b"xylothequ", b"quillon"):
        assert word not in lowered, word
    for id_ in passages:
        assert id_.encode() not in content
    for vector in vectors:
        assert vector not in content
    for digest in digests:
        assert digest.encode() not in content
    assert kept.encode() in content
    assert installation.check()["consistent"]


def test_an_erasure_that_leaves_something_is_not_said_to_be_over(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = installation.add_text("Ada wrote it.", "Note")
    monkeypatch.setattr(type(installation.vectors), "delete", lambda *_: None)
    job_id = installation.client.call("DELETE", f"/v1/documents/{document}")["job"]["id"]
    while (job := installation.client.call("GET", f"/v1/jobs/{job_id}"))["error"] is None:
        pass
    assert job["state"] in ("queued", "running")
    assert "vectors (1)" in job["error"]["detail"]
    assert installation.client.call("GET", f"/v1/erasures/{document}")["state"] == "accepted"
    monkeypatch.undo()
    assert finished(installation.client, job_id)["state"] == "succeeded"
    assert installation.client.call("GET", f"/v1/erasures/{document}")["state"] == "verified"


# --- Texts put together again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_text_is_restored_from_its_passages_or_not_at_all(seed: int) -> None:
    chosen = random.Random(seed)
    text, passages = "", []
    for _ in range(chosen.randint(1, 8)):
        text += chosen.choice(("", "\n", "\n\n", "  \n\n", " ")) if text else chosen.choice(("", "\n"))
        passage = "".join(chosen.choices("abcdef ghij", k=chosen.randint(1, 40))).strip() or "x"
        passages.append((len(text), passage))
        text += passage
    text += chosen.choice(("", "\n"))
    start, passage = chosen.choice(passages)
    damage = chosen.choice((passage[::-1], "", passage + "zz", passage.upper()))
    damaged = text[:start] + damage + text[start + len(passage) :]
    assert restored_text(damaged, passages, sha256_hex(text)) == text
    assert restored_text(damaged, passages, sha256_hex("something else")) is None
