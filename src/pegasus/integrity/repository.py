"""What the rows of all features say that the other stores should hold. Only here are they read across features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from pegasus.ports import GraphFact, Row, Table, Transaction

_UNFINISHED = "('queued', 'running')"
_LIST_CHUNK = 500
_ALL_ROWS = 2**62
# Documents whose passages the derived stores should all have; of the others they may have some.
_WHOLE = (
    "SELECT document_id FROM passages WHERE workspace_id = :w AND (:d IS NULL OR document_id = :d)"
    " GROUP BY document_id HAVING min(indexed) = 1"
)


@dataclass(frozen=True, slots=True)
class StoredVector:
    document_id: str
    indexed: bool
    vector: bytes | None


def workspaces(tx: Transaction) -> list[str]:
    """Without those that are being erased, which no longer say what any store should hold."""
    return [row["id"] for row in tx.all("SELECT id FROM workspaces WHERE erasing_at IS NULL ORDER BY id")]


def busy_documents(tx: Transaction, workspace_id: str) -> set[str]:
    """Documents that a job is still to bring in step; whatever differs about them is not a fault."""
    rows = tx.all(
        f"SELECT DISTINCT document_id FROM jobs WHERE state IN {_UNFINISHED} AND workspace_id = :w"
        " AND document_id IS NOT NULL",
        {"w": workspace_id},
    )
    return {row["document_id"] for row in rows}


def is_busy(tx: Transaction, document_id: str) -> bool:
    return (
        tx.one(f"SELECT 1 FROM jobs WHERE document_id = :id AND state IN {_UNFINISHED} LIMIT 1", {"id": document_id})
        is not None
    )


def counts(tx: Transaction, workspace_id: str) -> tuple[int, int]:
    """(documents, passages)."""
    row = tx.one(
        "SELECT (SELECT count(*) FROM documents WHERE workspace_id = :w) AS documents,"
        " (SELECT count(*) FROM passages WHERE workspace_id = :w) AS passages",
        {"w": workspace_id},
    )
    return (row["documents"], row["passages"]) if row else (0, 0)


def documents_after(tx: Transaction, workspace_id: str, after: str, limit: int) -> Sequence[Row]:
    return tx.all(
        "SELECT id, version, state FROM documents WHERE workspace_id = :w AND id > :after ORDER BY id LIMIT :limit",
        {"w": workspace_id, "after": after, "limit": limit},
    )


def versions_of(tx: Transaction, document_ids: Sequence[str]) -> Iterator[Row]:
    """Every version of these documents, one by one, in the order of documents and versions."""
    marks, named = _in(document_ids)
    return tx.each(
        "SELECT document_id, version, text, text_sha256, sha256, file_key FROM document_versions"
        f" WHERE document_id IN ({marks}) ORDER BY document_id, version",
        named,
    )


def passages_of(tx: Transaction, document_ids: Sequence[str]) -> Iterator[Row]:
    """Every passage of these documents, one by one, by document and place, with ``model`` and ``vector_bytes``."""
    marks, named = _in(document_ids)
    return tx.each(
        "SELECT p.*, e.model, length(e.vector) AS vector_bytes FROM passages p"
        f" LEFT JOIN passage_embeddings e ON e.passage_id = p.id WHERE p.document_id IN ({marks})"
        " ORDER BY p.document_id, p.start_offset",
        named,
    )


def version(tx: Transaction, document_id: str, number: int) -> Row | None:
    return tx.one(
        "SELECT version, text, text_sha256, sha256, file_key FROM document_versions WHERE document_id = :id"
        " AND version = :version",
        {"id": document_id, "version": number},
    )


def passages(tx: Transaction, document_id: str) -> Sequence[Row]:
    """In order."""
    return tx.all("SELECT * FROM passages WHERE document_id = :id ORDER BY start_offset", {"id": document_id})


def vectors(tx: Transaction, passage_ids: Sequence[str]) -> dict[str, StoredVector]:
    found = {}
    for ids in _slices(passage_ids):
        marks, named = _in(ids)
        for row in tx.all(
            "SELECT p.id, p.document_id, p.indexed, e.vector FROM passages p"
            f" LEFT JOIN passage_embeddings e ON e.passage_id = p.id WHERE p.id IN ({marks})",
            named,
        ):
            found[row["id"]] = StoredVector(row["document_id"], bool(row["indexed"]), row["vector"])
    return found


def indexed_count(tx: Transaction, workspace_id: str) -> int:
    row = tx.one("SELECT count(*) AS n FROM passages WHERE workspace_id = :w AND indexed = 1", {"w": workspace_id})
    return row["n"] if row else 0


def all_indexed(tx: Transaction) -> int:
    row = tx.one("SELECT count(*) AS n FROM passages WHERE indexed = 1")
    return row["n"] if row else 0


def indexed_after(tx: Transaction, workspace_id: str, after: int, limit: int) -> Sequence[Row]:
    """(seq, id, document_id) of indexed passages, in the order of ``seq``."""
    return tx.all(
        "SELECT seq, id, document_id FROM passages WHERE workspace_id = :w AND seq > :after AND indexed = 1"
        " ORDER BY seq LIMIT :limit",
        {"w": workspace_id, "after": after, "limit": limit},
    )


def embeddings_after(tx: Transaction, after: int, limit: int) -> Sequence[Row]:
    """(seq, id, workspace_id, vector) of indexed passages of all workspaces, in the order of ``seq``."""
    return tx.all(
        "SELECT p.seq, p.id, p.workspace_id, e.vector FROM passages p"
        " JOIN passage_embeddings e ON e.passage_id = p.id WHERE p.seq > :after AND p.indexed = 1"
        " ORDER BY p.seq LIMIT :limit",
        {"after": after, "limit": limit},
    )


_RESOLVED_LINKS = (
    "SELECT DISTINCT l.document_id, k.document_id AS target FROM links l"
    " JOIN link_keys k ON k.workspace_id = l.workspace_id AND k.key = l.target_key AND k.stale = 0"
    " WHERE k.document_id <> l.document_id"
    " AND EXISTS (SELECT 1 FROM passages p WHERE p.document_id = k.document_id AND p.indexed = 1)"
)
# By kind of fact: the query, and its columns in the order of ``GraphFact``.
_FACTS = {
    "title": (
        f"SELECT DISTINCT document_id, title FROM passages WHERE document_id IN ({_WHOLE})",
        ("title",),
    ),
    "passage": (f"SELECT document_id, id FROM passages WHERE document_id IN ({_WHOLE})", ("id",)),
    "mention": (
        "SELECT p.document_id, p.id, m.entity_id FROM passages p JOIN mentions m ON m.passage_id = p.id"
        f" WHERE p.document_id IN ({_WHOLE})",
        ("id", "entity_id"),
    ),
    "link": (f"{_RESOLVED_LINKS} AND l.document_id IN ({_WHOLE})", ("target",)),
}
# By part of ``GraphContents``: the query, and its columns in order.
_GRAPH_ROWS = {
    "documents": (
        "SELECT document_id, workspace_id, max(title) AS title FROM passages WHERE indexed = 1"
        " GROUP BY document_id, workspace_id",
        ("document_id", "workspace_id", "title"),
    ),
    "passages": ("SELECT id, workspace_id FROM passages WHERE indexed = 1", ("id", "workspace_id")),
    "entities": ("SELECT id, workspace_id, name, kind FROM entities", ("id", "workspace_id", "name", "kind")),
    "contains": ("SELECT document_id, id FROM passages WHERE indexed = 1", ("document_id", "id")),
    "mentions": (
        "SELECT m.passage_id, m.entity_id FROM mentions m JOIN passages p ON p.id = m.passage_id WHERE p.indexed = 1",
        ("passage_id", "entity_id"),
    ),
    "links": (
        f"{_RESOLVED_LINKS} AND EXISTS (SELECT 1 FROM passages p WHERE p.document_id = l.document_id"
        " AND p.indexed = 1)",
        ("document_id", "target"),
    ),
}


def facts(tx: Transaction, workspace_id: str, document_id: str | None = None) -> Iterator[GraphFact]:
    """What the graph should say of entities and of the documents that are wholly indexed, or of one of these."""
    if document_id is None:
        yield from entity_facts(tx, workspace_id)
    for kind, (sql, columns) in _FACTS.items():
        fact = itemgetter("document_id", *columns)
        for row in tx.each(sql, {"w": workspace_id, "d": document_id}):
            document, *values = fact(row)
            yield (document, kind, *values)


def entity_facts(tx: Transaction, workspace_id: str) -> Iterator[GraphFact]:
    rows = tx.each("SELECT id, name, kind FROM entities WHERE workspace_id = :w", {"w": workspace_id})
    for id_, name, kind in map(itemgetter("id", "name", "kind"), rows):
        yield ("", "entity", id_, name, kind)


def graph_rows(tx: Transaction, part: str) -> Iterator[tuple[str, ...]]:
    """The rows of one part of ``GraphContents``, of all workspaces; only of passages that are indexed."""
    sql, columns = _GRAPH_ROWS[part]
    return map(itemgetter(*columns), tx.each(sql))


def partly_indexed(tx: Transaction, workspace_id: str) -> set[str]:
    """Documents of which some passage is still to be indexed, be it that nobody is going to."""
    rows = tx.all(
        "SELECT DISTINCT document_id FROM passages WHERE workspace_id = :w AND indexed = 0", {"w": workspace_id}
    )
    return {row["document_id"] for row in rows}


def unknown(tx: Transaction, table: str, ids: Sequence[str]) -> list[str]:
    """Which of these have no row in ``passages``, ``entities`` or ``documents``, nor are about to be forgotten."""
    known: set[str] = set()
    for some in _slices(ids):
        marks, named = _in(some)
        known.update(row["id"] for row in tx.all(f"SELECT id FROM {table} WHERE id IN ({marks})", named))
        known.update(row["id"] for row in tx.all(f"SELECT id FROM removals WHERE id IN ({marks})", named))
    return [id_ for id_ in ids if id_ not in known]


def left_removals(tx: Transaction, workspace_id: str) -> list[str]:
    """Documents of which the derived stores should have forgotten something, though no job is there to do it."""
    rows = tx.all(
        "SELECT DISTINCT r.document_id FROM removals r WHERE r.workspace_id = :w AND NOT EXISTS (SELECT 1 FROM jobs j"
        f" WHERE j.document_id = r.document_id AND j.state IN {_UNFINISHED}) ORDER BY r.document_id",
        {"w": workspace_id},
    )
    return [row["document_id"] for row in rows]


def stuck_documents(tx: Transaction, workspace_id: str) -> Sequence[Row]:
    """(id, version, state) of documents that are not done, and that no job will ever do; not those whose job was
    cancelled, which say so themselves."""
    return tx.all(
        "SELECT d.id, d.version, d.state FROM documents d WHERE d.workspace_id = :w"
        " AND (d.state IN ('received', 'searchable') AND d.error IS NULL OR d.state = 'erasing')"
        " AND NOT EXISTS (SELECT 1 FROM jobs j"
        f" WHERE j.document_id = d.id AND j.state IN {_UNFINISHED})",
        {"w": workspace_id},
    )


def unmentioned_entities(tx: Transaction, workspace_id: str) -> list[str]:
    rows = tx.all(
        "SELECT id FROM entities e WHERE workspace_id = :w"
        " AND NOT EXISTS (SELECT 1 FROM mentions m WHERE m.entity_id = e.id)",
        {"w": workspace_id},
    )
    return [row["id"] for row in rows]


def restore_passage(tx: Transaction, passage_id: str, text: str) -> None:
    tx.execute("UPDATE passages SET text = :text WHERE id = :id", {"id": passage_id, "text": text})


def index_again(tx: Transaction, passage_ids: Sequence[str], *, embed: bool) -> None:
    """Have passages put into the derived stores anew; with ``embed``, with an embedding that is made anew, too."""
    rows = [{"id": id_} for id_ in passage_ids]
    if embed:
        tx.execute_many("DELETE FROM passage_embeddings WHERE passage_id = :id", rows)
    tx.execute_many("UPDATE passages SET indexed = 0 WHERE id = :id", rows)


def index_document_again(tx: Transaction, document_id: str) -> None:
    tx.execute("UPDATE passages SET indexed = 0 WHERE document_id = :id", {"id": document_id})


def documents_mentioning(tx: Transaction, entity_ids: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for some in _slices(entity_ids):
        marks, named = _in(some)
        rows = tx.all(
            "SELECT DISTINCT p.document_id FROM mentions m JOIN passages p ON p.id = m.passage_id"
            f" WHERE m.entity_id IN ({marks})",
            named,
        )
        found.update(row["document_id"] for row in rows)
    return sorted(found)


def delete_entities(tx: Transaction, entity_ids: Sequence[str]) -> None:
    tx.execute_many("DELETE FROM entities WHERE id = :id", [{"id": id_} for id_ in entity_ids])


def _slices(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[first : first + _LIST_CHUNK] for first in range(0, len(values), _LIST_CHUNK))


def _in(values: Sequence[str]) -> tuple[str, dict[str, str]]:
    return ", ".join(f":v{n}" for n in range(len(values))), {f"v{n}": value for n, value in enumerate(values)}


def insert_erasure(tx: Transaction, receipt: Mapping[str, Any]) -> None:
    tx.execute(
        "INSERT INTO erasures (id, workspace_id, scope, subject_id, requested_at, removed, checks) VALUES"
        " (:id, :workspace_id, :scope, :subject_id, :requested_at, :removed, '[]')"
        " ON CONFLICT (id) DO NOTHING",
        receipt,
    )


def verify_erasure(tx: Transaction, id_: str, removed: str, checks: str, now: float) -> None:
    tx.execute(
        "UPDATE erasures SET removed = :removed, checks = :checks, verified_at = :now WHERE id = :id",
        {"id": id_, "removed": removed, "checks": checks, "now": now},
    )


def erasure(tx: Transaction, workspace_id: str, id_: str) -> Row | None:
    """By its own id, or by that of what was erased: the newest."""
    return tx.one(
        "SELECT * FROM erasures WHERE workspace_id = :w AND (id = :id OR subject_id = :id) ORDER BY id DESC LIMIT 1",
        {"w": workspace_id, "id": id_},
    )


def erasures(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Sequence[Row]:
    """Newest first."""
    return tx.all(
        "SELECT * FROM erasures WHERE workspace_id = :w AND (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {"w": workspace_id, "cursor": cursor, "limit": limit},
    )


def tally_erasure(tx: Transaction, id_: str, removed: str, looked: str) -> None:
    """What an erasure that takes its time has removed, and looked for, so far."""
    tx.execute(
        "UPDATE erasures SET removed = :removed, checks = :looked WHERE id = :id",
        {"id": id_, "removed": removed, "looked": looked},
    )


def is_erasing_another(tx: Transaction, workspace_id: str) -> bool:
    """Whether the erasure of another workspace was asked for from this one, and is not over."""
    row = tx.one(
        "SELECT 1 FROM erasures WHERE workspace_id = :w AND scope = 'workspace' AND verified_at IS NULL LIMIT 1",
        {"w": workspace_id},
    )
    return row is not None


def move_receipts(tx: Transaction, workspace_id: str, to: str) -> None:
    """Let another workspace keep the receipts of workspaces that were erased from this one."""
    tx.execute(
        "UPDATE erasures SET workspace_id = :to WHERE workspace_id = :w AND scope = 'workspace'",
        {"w": workspace_id, "to": to},
    )


def rows_of_workspace(tables: Sequence[Table]) -> list[tuple[Table, str]]:
    """Each table that has rows of workspaces, with the condition for those of the workspace ``:w``, in an order in
    which they can be deleted.

    Tables are found in the schema, not listed, so that a new one cannot be forgotten: a workspace's rows are those
    that name it, and those that refer to such rows.
    """
    conditions = {"workspaces": "id = :w"}
    for table in tables:
        if "workspace_id" in table.columns:
            conditions[table.name] = "workspace_id = :w"
            continue
        clauses = [
            f"{column} IN (SELECT {key} FROM {other} WHERE {conditions[other]})"
            for column, other, key in table.references
            if other in conditions
        ]
        if clauses:
            conditions[table.name] = " OR ".join(clauses)
    # What refers goes before what it refers to; the audit log only when all is gone that it tells of.
    order = [table for table in reversed(tables) if table.name in conditions]
    order.sort(key=lambda table: (table.name == "workspaces", table.name.startswith("audit_")))
    return [(table, conditions[table.name]) for table in order]


def delete_rows(tx: Transaction, table: Table, condition: str, workspace_id: str, limit: int = _ALL_ROWS) -> int:
    """Delete rows that a condition of ``rows_of_workspace`` names, ``limit`` of them at most; how many these were."""
    key = ", ".join(table.key)
    return tx.execute(
        f"DELETE FROM {table.name} WHERE ({key}) IN (SELECT {key} FROM {table.name} WHERE {condition} LIMIT :limit)",
        {"w": workspace_id, "limit": limit},
    )


def count_rows(tx: Transaction, chosen: Sequence[tuple[Table, str]], workspace_id: str) -> int:
    """How many rows of a workspace there are in all tables."""
    counted = [
        tx.one(f"SELECT count(*) AS n FROM {table.name} WHERE {condition}", {"w": workspace_id})
        for table, condition in chosen
    ]
    return sum(row["n"] for row in counted if row)


def mark_purged(tx: Transaction, verified_before: float, now: float) -> int:
    return tx.execute(
        "UPDATE erasures SET purged_at = :now WHERE purged_at IS NULL AND verified_at < :before",
        {"now": now, "before": verified_before},
    )


def unpurged_since(tx: Transaction) -> float | None:
    """When the oldest erasure was verified whose bytes may still be in the stores' free space."""
    row = tx.one("SELECT min(verified_at) AS t FROM erasures WHERE purged_at IS NULL AND verified_at IS NOT NULL")
    return row["t"] if row else None


def last_compaction(tx: Transaction) -> float | None:
    """When the newest was queued; infinity while one is not done."""
    row = tx.one("SELECT created_at, state FROM jobs WHERE kind = 'compact' ORDER BY id DESC LIMIT 1")
    if row is None:
        return None
    return math.inf if row["state"] in ("queued", "running") else float(row["created_at"])
