"""The rows of passages, embeddings, mentions and links, and of what the derived stores still have to forget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pegasus.domain import Chunk, Document, Entity, Filters, Link, Passage
from pegasus.filtering import passages_of
from pegasus.identifiers import new_id, sha256_hex
from pegasus.ports import Row, Transaction, Vector

_LIST_CHUNK = 500


@dataclass(frozen=True, slots=True)
class PendingPassage:
    id: str
    workspace_id: str
    document_id: str
    title: str
    heading: str
    text: str
    vector: bytes | None  # The embedding, where an earlier try has got that far.

    @property
    def embedding_input(self) -> str:
        return embedding_input(self.title, self.heading, self.text)


def embedding_input(title: str, heading: str, text: str) -> str:
    """What is embedded for a passage: its text after the title and headings that it does not begin with itself."""
    context = [line for line in (title, heading) if line and line not in text[: len(line) + 80]]
    return "\n".join([*context, text])


def input_digest(title: str, heading: str, text: str) -> str:
    """Tells whether a passage is as it was when it was indexed: its embedding is made of these."""
    return sha256_hex("\0".join((title, heading, text)))


def passage_from(row: Row) -> Passage:
    return Passage(
        id=row["id"],
        document_id=row["document_id"],
        version=row["version"],
        title=row["title"],
        heading=row["heading"],
        text=row["text"],
        start=row["start_offset"],
        end=row["end_offset"],
        sha256=row["sha256"],
        embedded=bool(row["indexed"]),
    )


def replace_passages(tx: Transaction, document: Document, chunks: Sequence[Chunk]) -> None:
    """Make the document's passages be these chunks; a passage whose content stays keeps its id and its embedding."""
    spare: dict[str, list[str]] = defaultdict(list)
    for row in tx.all("SELECT id, input_sha256 FROM passages WHERE document_id = :id", {"id": document.id}):
        spare[row["input_sha256"]].append(row["id"])
    kept: list[dict[str, object]] = []
    new: list[dict[str, object]] = []
    for chunk in chunks:
        key = input_digest(document.title, chunk.heading, chunk.text)
        row = {"start": chunk.start, "end": chunk.end, "version": document.version}
        if spare[key]:
            kept.append({**row, "id": spare[key].pop()})
        else:
            new.append(_new_row(document, chunk, key) | row)
    delete_passages(tx, document, [id_ for ids in spare.values() for id_ in ids])
    tx.execute_many(
        "UPDATE passages SET start_offset = :start, end_offset = :end, version = :version WHERE id = :id", kept
    )
    tx.execute_many(
        "INSERT INTO passages (id, workspace_id, document_id, version, start_offset, end_offset, title, heading, text,"
        " sha256, input_sha256, indexed) VALUES (:id, :workspace_id, :document_id, :version, :start, :end, :title,"
        " :heading, :text, :sha256, :key, 0)",
        new,
    )
    tx.index_words(document.workspace_id, [str(row["id"]) for row in new])


def _new_row(document: Document, chunk: Chunk, key: str) -> dict[str, object]:
    return {
        "id": new_id(),
        "workspace_id": document.workspace_id,
        "document_id": document.id,
        "title": document.title,
        "heading": chunk.heading,
        "text": chunk.text,
        "sha256": sha256_hex(chunk.text),
        "key": key,
    }


def delete_passages(tx: Transaction, document: Document, passage_ids: Sequence[str]) -> None:
    """Delete passages with all that hangs on them, and note what the derived stores must forget."""
    tx.unindex_words(document.workspace_id, passage_ids)
    for ids in _slices(passage_ids):
        entity_ids = {
            row["entity_id"]
            for row in tx.all(f"SELECT entity_id FROM mentions WHERE passage_id IN ({_marks(ids)})", _named(ids))
        }
        for table, column in (("mentions", "passage_id"), ("passage_embeddings", "passage_id"), ("passages", "id")):
            tx.execute(f"DELETE FROM {table} WHERE {column} IN ({_marks(ids)})", _named(ids))
        _note_removals(tx, document, "passage", ids)
        _drop_unmentioned(tx, document, sorted(entity_ids))


def _drop_unmentioned(tx: Transaction, document: Document, entity_ids: Sequence[str]) -> None:
    unmentioned = [
        id_ for id_ in entity_ids if not tx.one("SELECT 1 FROM mentions WHERE entity_id = :id LIMIT 1", {"id": id_})
    ]
    tx.execute_many("DELETE FROM entities WHERE id = :id", [{"id": id_} for id_ in unmentioned])
    _note_removals(tx, document, "entity", unmentioned)


def _note_removals(tx: Transaction, document: Document, kind: str, ids: Sequence[str]) -> None:
    tx.execute_many(
        "INSERT INTO removals (kind, id, workspace_id, document_id) VALUES (:kind, :id, :workspace_id, :document_id)"
        " ON CONFLICT (kind, id) DO NOTHING",
        [{"kind": kind, "id": id_, "workspace_id": document.workspace_id, "document_id": document.id} for id_ in ids],
    )


def removals(tx: Transaction, document_id: str) -> dict[str, list[str]]:
    """Ids to forget, by "passage" and "entity"."""
    found: dict[str, list[str]] = {"passage": [], "entity": []}
    for row in tx.all("SELECT kind, id FROM removals WHERE document_id = :id", {"id": document_id}):
        found[row["kind"]].append(row["id"])
    return found


def delete_removals(tx: Transaction, kind: str, ids: Sequence[str]) -> None:
    tx.execute_many("DELETE FROM removals WHERE kind = :kind AND id = :id", [{"kind": kind, "id": i} for i in ids])


def pending(tx: Transaction, document_id: str, limit: int) -> list[PendingPassage]:
    """Passages in order that the derived stores do not have yet."""
    rows = tx.all(
        "SELECT p.*, e.vector FROM passages p LEFT JOIN passage_embeddings e ON e.passage_id = p.id"
        " WHERE p.document_id = :id AND p.indexed = 0 ORDER BY p.start_offset LIMIT :limit",
        {"id": document_id, "limit": limit},
    )
    return [
        PendingPassage(
            row["id"], row["workspace_id"], row["document_id"], row["title"], row["heading"], row["text"], row["vector"]
        )
        for row in rows
    ]


def progress(tx: Transaction, document_id: str) -> tuple[int, int]:
    """(indexed, all) passages of a document."""
    row = tx.one(
        "SELECT count(*) AS n, sum(indexed) AS done FROM passages WHERE document_id = :id", {"id": document_id}
    )
    return (row["done"] or 0, row["n"]) if row else (0, 0)


def save_embeddings(tx: Transaction, model: str, embeddings: Sequence[tuple[str, Vector]]) -> None:
    """Keep embeddings, little-endian float32, by the ids of their passages."""
    tx.execute_many(
        "INSERT INTO passage_embeddings (passage_id, model, vector) VALUES (:id, :model, :vector)"
        " ON CONFLICT (passage_id) DO UPDATE SET model = excluded.model, vector = excluded.vector",
        [{"id": id_, "model": model, "vector": vector.astype("<f4").tobytes()} for id_, vector in embeddings],
    )


def vector_from(blob: bytes) -> Vector:
    return np.frombuffer(blob, "<f4")


def existing(tx: Transaction, passage_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for ids in _slices(passage_ids):
        found.update(row["id"] for row in tx.all(f"SELECT id FROM passages WHERE id IN ({_marks(ids)})", _named(ids)))
    return found


def ensure_entities(tx: Transaction, workspace_id: str, named: Mapping[str, tuple[str, str]]) -> dict[str, Entity]:
    """Entities by key, made where they are new; ``named`` gives (name, kind) for each key."""
    found = entities_by_key(tx, workspace_id, list(named))
    new = {key: Entity(new_id(), name, kind) for key, (name, kind) in named.items() if key not in found}
    tx.execute_many(
        "INSERT INTO entities (id, workspace_id, key, name, kind) VALUES (:id, :workspace_id, :key, :name, :kind)",
        [
            {"id": entity.id, "workspace_id": workspace_id, "key": key, "name": entity.name, "kind": entity.kind}
            for key, entity in new.items()
        ],
    )
    return found | new


def entities_by_key(tx: Transaction, workspace_id: str, keys: Sequence[str]) -> dict[str, Entity]:
    found = {}
    for some in _slices(keys):
        rows = tx.all(
            f"SELECT * FROM entities WHERE workspace_id = :w AND key IN ({_marks(some)})",
            {"w": workspace_id, **_named(some)},
        )
        found.update({row["key"]: Entity(row["id"], row["name"], row["kind"]) for row in rows})
    return found


def save_mentions(tx: Transaction, mentions: Iterable[tuple[str, str]]) -> None:
    """(passage, entity) pairs; one that is there already stays as it is."""
    tx.execute_many(
        "INSERT INTO mentions (passage_id, entity_id) VALUES (:p, :e) ON CONFLICT (passage_id, entity_id) DO NOTHING",
        [{"p": passage_id, "e": entity_id} for passage_id, entity_id in mentions],
    )


def index_size(tx: Transaction, workspace_id: str) -> tuple[int, int, int]:
    """(passages, of these not indexed yet, entities) of a workspace."""
    passages = "SELECT count(*) AS n FROM documents d JOIN passages p ON p.document_id = d.id WHERE d.workspace_id = :w"
    queries = (passages, f"{passages} AND p.indexed = 0", "SELECT count(*) AS n FROM entities WHERE workspace_id = :w")
    all_, waiting, entities = (row["n"] if row else 0 for row in (tx.one(sql, {"w": workspace_id}) for sql in queries))
    return all_, waiting, entities


def has_passages(tx: Transaction, document_id: str) -> bool:
    return tx.one("SELECT 1 FROM passages WHERE document_id = :id LIMIT 1", {"id": document_id}) is not None


def mark_indexed(tx: Transaction, passage_ids: Sequence[str]) -> None:
    tx.execute_many("UPDATE passages SET indexed = 1 WHERE id = :id", [{"id": id_} for id_ in passage_ids])


def replace_links(tx: Transaction, document: Document, links: Sequence[tuple[Link, str]], keys: Sequence[str]) -> None:
    """The links that go out from a document, each with its target's key, and the keys by which others link to it."""
    tx.execute("DELETE FROM links WHERE document_id = :id", {"id": document.id})
    # Old keys stay until the graph is linked anew: they tell which documents' links go nowhere now.
    tx.execute("UPDATE link_keys SET stale = 1 WHERE document_id = :id", {"id": document.id})
    base = {"id": document.id, "w": document.workspace_id}
    tx.execute_many(
        "INSERT INTO links (document_id, ordinal, workspace_id, kind, target, label, target_key)"
        " VALUES (:id, :ordinal, :w, :kind, :target, :label, :key)",
        [
            {**base, "ordinal": n, "kind": link.kind, "target": link.target, "label": link.label, "key": key}
            for n, (link, key) in enumerate(links)
        ],
    )
    add_link_keys(tx, document, keys)


def add_link_keys(tx: Transaction, document: Document, keys: Sequence[str]) -> None:
    rows = [{"id": document.id, "w": document.workspace_id, "key": key} for key in dict.fromkeys(keys)]
    tx.execute_many(
        "INSERT INTO link_keys (workspace_id, key, document_id, stale) VALUES (:w, :key, :id, 0)"
        " ON CONFLICT (workspace_id, key, document_id) DO UPDATE SET stale = 0",
        rows,
    )
    # An address is one document's; a title or a file's name may be several documents'.
    tx.execute_many(
        "DELETE FROM link_keys WHERE workspace_id = :w AND key = :key AND document_id <> :id",
        [row for row in rows if row["key"].startswith("uri:")],
    )


def resolved_links(tx: Transaction, document_id: str) -> dict[str, list[str]]:
    """Targets of this document, and of each document that links to it."""
    sources = {document_id} | {
        row["document_id"]
        for row in tx.all(
            "SELECT DISTINCT l.document_id FROM link_keys k JOIN links l ON l.workspace_id = k.workspace_id"
            " AND l.target_key = k.key WHERE k.document_id = :id",
            {"id": document_id},
        )
    }
    return {
        source: [
            row["document_id"]
            for row in tx.all(
                "SELECT DISTINCT k.document_id FROM links l JOIN link_keys k ON k.workspace_id = l.workspace_id"
                " AND k.key = l.target_key WHERE l.document_id = :id AND k.document_id <> :id AND k.stale = 0"
                " ORDER BY k.document_id",
                {"id": source},
            )
        ]
        for source in sorted(sources)
    }


def delete_stale_keys(tx: Transaction, document_id: str) -> None:
    tx.execute("DELETE FROM link_keys WHERE document_id = :id AND stale = 1", {"id": document_id})


def has_links(tx: Transaction, document_id: str) -> bool:
    return (
        tx.one(
            "SELECT 1 FROM links WHERE document_id = :id UNION ALL SELECT 1 FROM link_keys k JOIN links l"
            " ON l.workspace_id = k.workspace_id AND l.target_key = k.key WHERE k.document_id = :id LIMIT 1",
            {"id": document_id},
        )
        is not None
    )


def passage_ids(tx: Transaction, document_id: str) -> list[str]:
    return [row["id"] for row in tx.all("SELECT id FROM passages WHERE document_id = :id", {"id": document_id})]


def passages(tx: Transaction, workspace_id: str, ids: Sequence[str]) -> dict[str, Passage]:
    found = {}
    for some in _slices(ids):
        rows = tx.all(
            f"SELECT * FROM passages WHERE workspace_id = :w AND id IN ({_marks(some)})",
            {"w": workspace_id, **_named(some)},
        )
        found.update({row["id"]: passage_from(row) for row in rows})
    return found


def filtered_passages(tx: Transaction, workspace_id: str, filters: Filters) -> list[str]:
    """Ids of the passages of documents that have any of the tags and were created within the times."""
    return [row["id"] for row in tx.all(*passages_of("id", workspace_id, filters))]


def embeddings(tx: Transaction, ids: Sequence[str]) -> dict[str, Vector]:
    found = {}
    for some in _slices(ids):
        rows = tx.all(
            f"SELECT passage_id, vector FROM passage_embeddings WHERE passage_id IN ({_marks(some)})", _named(some)
        )
        found.update({row["passage_id"]: vector_from(row["vector"]) for row in rows})
    return found


def samples(tx: Transaction, count: int) -> list[tuple[str, Passage]]:
    """(workspace, passage) of up to ``count`` indexed passages, from all over."""
    ends = tx.one("SELECT min(seq) AS first, max(seq) AS last FROM passages WHERE indexed = 1")
    if ends is None or ends["first"] is None:
        return []
    step = max(1, (ends["last"] - ends["first"] + 1) // count)
    found = {}
    for seq in range(ends["first"], ends["last"] + 1, step):
        row = tx.one("SELECT * FROM passages WHERE seq >= :seq AND indexed = 1 ORDER BY seq LIMIT 1", {"seq": seq})
        if row:
            found[row["id"]] = (row["workspace_id"], passage_from(row))
    return list(found.values())[:count]


def _slices(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[first : first + _LIST_CHUNK] for first in range(0, len(values), _LIST_CHUNK))


def _marks(values: Sequence[str]) -> str:
    return ", ".join(f":v{n}" for n in range(len(values)))


def _named(values: Sequence[str]) -> dict[str, str]:
    return {f"v{n}": value for n, value in enumerate(values)}
