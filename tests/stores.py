"""Compares the stores of a stopped application in full: what one has and another lacks, by store and id."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from pegasus.adapters.ladybug import LadybugGraphStore
from pegasus.adapters.sqlite import SqliteRelationalStore, SqliteTransaction
from pegasus.application import Application
from pegasus.errors import NotFound
from pegasus.identifiers import sha256_hex
from pegasus.ingestion import repository
from pegasus.ports import Transaction
from pegasus.text.terms import terms


def differences(application: Application) -> list[str]:
    """One line for each thing that is missing, left over or not the same; empty when all stores agree.

    It expects that no work is left: an unfinished job is a difference too.
    """
    return list(_differences(application))


def _differences(application: Application) -> Iterator[str]:
    with application.relational.read() as tx:
        workspaces = [row["id"] for row in tx.all("SELECT id FROM workspaces")]
        yield from _rows(tx)
        yield from _files(tx, application)
        for workspace_id in workspaces:
            yield from _vectors(tx, application, workspace_id)
            yield from _graph(tx, application, workspace_id)
    for workspace_id in workspaces:
        yield from _words(application, workspace_id)


def _between(store: str, found: Iterable[Any], wanted: Iterable[Any]) -> Iterator[str]:
    found, wanted = Counter(found), Counter(wanted)
    yield from (f"{store}: {item} is left over" for item in sorted(found.keys() - wanted.keys()))
    yield from (f"{store}: {item} is missing" for item in sorted(wanted.keys() - found.keys()))
    yield from (f"{store}: {item} is there {n} times" for item, n in sorted(found.items()) if n > 1)


def values(row: Any) -> tuple[Any, ...]:
    """The values of a row in the order of its columns, whatever its store makes rows of."""
    return tuple(row[name] for name in row.keys())  # noqa: SIM118 - SQLite's rows are no mappings.


def _column(tx: Transaction, sql: str, **parameters: Any) -> list[Any]:
    """Each row as a tuple, or as its value where it has only one."""
    rows = [values(row) for row in tx.all(sql, parameters)]
    return [row if len(row) > 1 else row[0] for row in rows]


def _rows(tx: Transaction) -> Iterator[str]:
    """The truth itself: passages say what the text says, and nothing waits or hangs in the air."""
    if isinstance(tx, SqliteTransaction):
        yield from (f"sqlite: {row}" for row in _column(tx, "PRAGMA integrity_check") if row != "ok")
        yield from (f"sqlite: foreign key of {row[0]} row {row[1]}" for row in _column(tx, "PRAGMA foreign_key_check"))
    for row in tx.all("SELECT * FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"):
        yield f"jobs: {row['kind']} {row['id']} of {row['document_id']} is {row['state']}"
    for row in tx.all("SELECT * FROM removals"):
        yield f"removals: {row['kind']} {row['id']} of {row['document_id']} is still to be forgotten"
    for row in tx.all("SELECT * FROM documents WHERE state NOT IN ('ready', 'failed')"):
        yield f"documents: {row['id']} is {row['state']}"
    for row in tx.all(
        "SELECT p.*, v.text AS whole, d.state, d.version AS newest, e.vector FROM passages p"
        " JOIN documents d ON d.id = p.document_id"
        " LEFT JOIN document_versions v ON v.document_id = p.document_id AND v.version = p.version"
        " LEFT JOIN passage_embeddings e ON e.passage_id = p.id"
    ):
        name = f"passages: {row['id']} of {row['document_id']} version {row['version']}"
        if (row["whole"] or "")[row["start_offset"] : row["end_offset"]] != row["text"]:
            yield f"{name}: its span does not hold its text"
        if sha256_hex(row["text"]) != row["sha256"]:
            yield f"{name}: its SHA-256 is another text's"
        if not row["indexed"]:
            yield f"{name}: it is not indexed"
        if row["vector"] is None:
            yield f"{name}: it has no embedding"
        if row["state"] == "ready" and row["version"] != row["newest"]:
            yield f"{name}: the document is at version {row['newest']}"
    for document_id in _column(
        tx, "SELECT id FROM documents d WHERE state = 'ready' AND id NOT IN (SELECT document_id FROM passages)"
    ):
        yield f"documents: {document_id} is ready and has no passages"
    for entity_id in _column(tx, "SELECT id FROM entities WHERE id NOT IN (SELECT entity_id FROM mentions)"):
        yield f"entities: {entity_id} is mentioned nowhere"


def _files(tx: Transaction, application: Application) -> Iterator[str]:
    wanted = _column(tx, "SELECT file_key FROM document_versions WHERE file_key IS NOT NULL")
    unpacking = _column(tx, "SELECT payload FROM jobs WHERE kind = 'unpack' AND state <> 'succeeded'")
    wanted += [json.loads(payload)["file_key"] for payload in unpacking]  # A failed archive is kept for a retry.
    yield from _between("files", application.files.stored_keys(), wanted)
    for row in tx.all("SELECT file_key, sha256 FROM document_versions WHERE file_key IS NOT NULL"):
        with suppress(NotFound), application.files.path(row["file_key"]) as path:
            if sha256_hex(path.read_bytes()) != row["sha256"]:
                yield f"files: {row['file_key']} has other bytes than its row says"


def _words(application: Application, workspace_id: str) -> Iterator[str]:
    if isinstance(application.relational, SqliteRelationalStore):
        yield from _words_of_sqlite(application, workspace_id)
        return
    with application.relational.read() as tx:
        passages = "SELECT id, title, heading, text FROM passages WHERE workspace_id = :w"
        wanted = [
            (row["id"], term, count)
            for row in tx.all(passages, {"w": workspace_id})
            for term, count in Counter(terms(f"{row['title']}\n{row['heading']}\n{row['text']}")).items()
        ]
        found = _column(
            tx,
            "SELECT w.passage_id, substr(u.lexeme, length(c.number::text) + 2) AS term, cardinality(u.positions) AS n"
            " FROM words w JOIN word_counts c ON c.workspace_id = w.workspace_id CROSS JOIN unnest(w.vector) u"
            " WHERE w.workspace_id = :w",
            w=workspace_id,
        )
        yield from _between("words", found, wanted)


def _words_of_sqlite(application: Application, workspace_id: str) -> Iterator[str]:
    """Each (word, passage, column, place) of the index against those of an index made afresh from the rows."""
    table = f"words_{workspace_id.replace('-', '')}"
    with application.relational.write() as tx:
        made = tx.one("SELECT sql FROM sqlite_master WHERE name = :table", {"table": table})
        if made is None:
            if tx.one("SELECT 1 FROM passages WHERE workspace_id = :w", {"w": workspace_id}):
                yield f"words: {table} is missing"
            return
        try:
            tx.execute(f"INSERT INTO {table}({table}) VALUES('integrity-check')")
        except Exception as error:  # noqa: BLE001 - whatever it says is the difference.
            yield f"words: {table} is damaged: {error}"
            return
        tokenizer = re.search(r"tokenize='[^']*'", made["sql"])
        tx.execute(f"CREATE VIRTUAL TABLE temp.fresh USING fts5(title, heading, text, {tokenizer[0]})")
        tx.execute(
            "INSERT INTO temp.fresh (rowid, title, heading, text) SELECT seq, title, heading, text FROM passages"
            " WHERE workspace_id = :w",
            {"w": workspace_id},
        )
        tx.execute("CREATE VIRTUAL TABLE temp.fresh_words USING fts5vocab(temp, fresh, instance)")
        tx.execute(f"CREATE VIRTUAL TABLE temp.index_words USING fts5vocab(main, {table}, instance)")
        names = {row["seq"]: row["id"] for row in tx.all("SELECT seq, id FROM passages")}
        for what, one, other in (("left over", "index", "fresh"), ("missing", "fresh", "index")):
            rows = tx.all(f"SELECT * FROM temp.{one}_words EXCEPT SELECT * FROM temp.{other}_words")
            for row in rows:
                yield f"words: {row['term']!r} of passage {names.get(row['doc'], row['doc'])} is {what}"
        for name in ("index_words", "fresh_words", "fresh"):
            tx.execute(f"DROP TABLE temp.{name}")


def _vectors(tx: Transaction, application: Application, workspace_id: str) -> Iterator[str]:
    ids = _column(tx, "SELECT id FROM passages WHERE workspace_id = :w", w=workspace_id)
    found = [
        (id_, vector)
        for some, vectors in application.search._vectors.pages(workspace_id)
        for id_, vector in zip(some, vectors, strict=True)
    ]
    yield from _between("vectors", [id_ for id_, _ in found], ids)
    wanted = repository.embeddings(tx, ids)
    for id_, vector in found:
        if id_ in ids and (id_ not in wanted or not np.allclose(vector, wanted[id_], atol=1e-6)):
            yield f"vectors: {id_} is another vector than the embedding's row"


def _graph(tx: Transaction, application: Application, workspace_id: str) -> Iterator[str]:
    store: Any = application.search._graph
    passages = _column(tx, "SELECT id, document_id FROM passages WHERE workspace_id = :w", w=workspace_id)
    entities = _column(tx, "SELECT id FROM entities WHERE workspace_id = :w", w=workspace_id)
    documents = sorted({document_id for _, document_id in passages})
    nodes = {"Document": documents, "Passage": [id_ for id_, _ in passages], "Entity": entities}
    for label, ids in nodes.items():
        yield from _between(f"graph: {label}", store.node_ids(workspace_id, label), ids)
    mentions = _column(
        tx,
        "SELECT m.passage_id, m.entity_id FROM mentions m JOIN passages p ON p.id = m.passage_id"
        " WHERE p.workspace_id = :w",
        w=workspace_id,
    )
    links = [
        (source, target)
        for source in documents
        for target in repository.resolved_links(tx, source)[source]
        if target in documents
    ]
    edges = {
        "(:Passage)-[:MENTIONS]->(:Entity)": mentions,
        "(:Document)-[:CONTAINS]->(:Passage)": [(document_id, id_) for id_, document_id in passages],
        "(:Document)-[:LINKS]->(:Document)": links,
    }
    for pattern, wanted in edges.items():
        query = pattern.replace("(:", "(s:", 1).replace("(:", "(t:", 1)
        for direction in (query, _reversed(query)):
            asked = f"MATCH {direction} WHERE s.workspace = $workspace RETURN s.id, t.id"
            yield from _between(f"graph: {direction}", graph_rows(store, asked, workspace=workspace_id), wanted)
    if isinstance(store, LadybugGraphStore):
        # And as the application asks, from the entity back to its passages; its own question has a limit.
        backwards = "MATCH (e:Entity {id: $id}) MATCH (e)<-[:MENTIONS]-(p:Passage) RETURN p.id"
        found = [(row[0], id_) for id_ in entities for row in graph_rows(store, backwards, id=id_)]
        yield from _between("graph: from the entity", found, mentions)


def change_graph(store: Any, cypher: str, **parameters: Any) -> None:
    """As only somebody else can, who writes with another program."""
    if isinstance(store, LadybugGraphStore):
        with store._write() as connection:
            connection.execute(cypher, parameters)
    else:
        store._transact(lambda tx: tx.all(cypher, **parameters))


def graph_rows(store: Any, cypher: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """What a graph answers to a question that its port does not have."""
    if isinstance(store, LadybugGraphStore):
        return [tuple(row) for row in store._read(cypher, parameters)]
    rows: list[tuple[Any, ...]] = store._transact(lambda tx: tx.all(cypher, **parameters))
    return rows


def _reversed(query: str) -> str:
    source, relation, target = re.split(r"-(\[.*\])->", query)
    return f"{target}<-{relation}-{source}"
