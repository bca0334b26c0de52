"""The rows of documents, their versions, names and tags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pegasus.domain import Document, DocumentState, DocumentText
from pegasus.ports import Row, Transaction

_SELECT = (
    "SELECT d.*, (SELECT json_group_array(t.tag) FROM (SELECT tag FROM document_tags WHERE document_id = d.id"
    " ORDER BY tag) t) AS tags FROM documents d"
)

# The stored files of documents that are not being erased.
_ORIGINALS = (
    "FROM document_versions v JOIN documents d ON d.id = v.document_id WHERE v.file_key IS NOT NULL"
    " AND d.state <> 'erasing'"
)


def document_from(row: Row) -> Document:
    return Document(
        id=row["id"],
        workspace_id=row["workspace_id"],
        title=row["title"],
        uri=row["uri"],
        media_type=row["media_type"],
        version=row["version"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        state=DocumentState(row["state"]),
        tags=tuple(json.loads(row["tags"])),
        metadata=json.loads(row["metadata"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        error=json.loads(row["error"]) if row["error"] else None,
    )


def get(tx: Transaction, workspace_id: str, document_id: str) -> Document | None:
    row = tx.one(f"{_SELECT} WHERE d.id = :id AND d.workspace_id = :w", {"id": document_id, "w": workspace_id})
    return document_from(row) if row else None


def find_by_uri(tx: Transaction, workspace_id: str, uri: str) -> Document | None:
    row = tx.one(
        f"{_SELECT} JOIN document_uris u ON u.document_id = d.id WHERE u.workspace_id = :w AND u.uri = :uri",
        {"w": workspace_id, "uri": uri},
    )
    return document_from(row) if row else None


def find_by_content(tx: Transaction, workspace_id: str, sha256: str) -> Document | None:
    row = tx.one(
        f"{_SELECT} WHERE d.workspace_id = :w AND d.sha256 = :sha256 AND d.state <> 'erasing' ORDER BY d.id LIMIT 1",
        {"w": workspace_id, "sha256": sha256},
    )
    return document_from(row) if row else None


def list_page(
    tx: Transaction, workspace_id: str, tag: str | None, uri: str | None, cursor: str | None, limit: int
) -> list[Document]:
    """Newest first."""
    rows = tx.all(
        f"{_SELECT} WHERE d.workspace_id = :w AND (:cursor IS NULL OR d.id < :cursor)"
        " AND (:tag IS NULL OR EXISTS (SELECT 1 FROM document_tags t WHERE t.document_id = d.id AND t.tag = :tag))"
        " AND (:uri IS NULL OR d.id IN (SELECT document_id FROM document_uris WHERE workspace_id = :w AND uri = :uri))"
        " ORDER BY d.id DESC LIMIT :limit",
        {"w": workspace_id, "tag": tag, "uri": uri, "cursor": cursor, "limit": limit},
    )
    return [document_from(row) for row in rows]


def insert(tx: Transaction, document: Document) -> None:
    tx.execute(
        "INSERT INTO documents (id, workspace_id, title, title_key, uri, media_type, version, sha256, size_bytes,"
        " state, metadata, created_at, updated_at) VALUES (:id, :workspace_id, :title, :title_key, :uri, :media_type,"
        " :version, :sha256, :size_bytes, :state, :metadata, :created_at, :updated_at)",
        {
            "id": document.id,
            "workspace_id": document.workspace_id,
            "title": document.title,
            "title_key": title_key(document.title),
            "uri": document.uri,
            "media_type": document.media_type,
            "version": document.version,
            "sha256": document.sha256,
            "size_bytes": document.size_bytes,
            "state": document.state.value,
            "metadata": json.dumps(document.metadata),
            "created_at": document.created_at,
            "updated_at": document.updated_at,
        },
    )


def title_key(title: str) -> str:
    """The form in which titles are compared: case and runs of white space do not count."""
    return " ".join(title.split()).casefold()


def insert_version(tx: Transaction, document: Document, source: Mapping[str, Any]) -> None:
    """``source`` has filename, charset, file_key, text, text_sha256 and title_given; a file's text comes later."""
    tx.execute(
        "INSERT INTO document_versions (document_id, version, sha256, media_type, filename, charset, file_key, text,"
        " text_sha256, title_given, created_at) VALUES (:document_id, :version, :sha256, :media_type, :filename,"
        " :charset, :file_key, :text, :text_sha256, :title_given, :now)",
        {
            **source,
            "document_id": document.id,
            "version": document.version,
            "sha256": document.sha256,
            "media_type": document.media_type,
            "now": document.updated_at,
        },
    )


def update(tx: Transaction, document_id: str, changes: Mapping[str, Any]) -> None:
    assignments = ", ".join(f"{column} = :{column}" for column in changes)
    tx.execute(f"UPDATE documents SET {assignments} WHERE id = :id", {**changes, "id": document_id})


def holdings(tx: Transaction, workspace_id: str) -> tuple[dict[DocumentState, int], int, int]:
    """(documents by state, bytes handed in, characters of text) of a workspace."""
    by_state, size_bytes = dict.fromkeys(DocumentState, 0), 0
    for row in tx.all(
        "SELECT state, count(*) AS n, sum(size_bytes) AS size FROM documents WHERE workspace_id = :w GROUP BY state",
        {"w": workspace_id},
    ):
        by_state[DocumentState(row["state"])] = row["n"]
        size_bytes += row["size"]
    text = tx.one(
        "SELECT sum(length(v.text)) AS n FROM documents d JOIN document_versions v ON v.document_id = d.id"
        " WHERE d.workspace_id = :w",
        {"w": workspace_id},
    )
    return by_state, size_bytes, (text["n"] if text else 0) or 0


def set_ready(tx: Transaction, document_id: str, version: int) -> None:
    """Only while the document is at this version, and was read; also after an index job that failed and was retried."""
    tx.execute(
        "UPDATE documents SET state = 'ready', error = NULL WHERE id = :id AND version = :version"
        " AND state IN ('searchable', 'failed')",
        {"id": document_id, "version": version},
    )


def add_uri(tx: Transaction, workspace_id: str, uri: str, document_id: str) -> None:
    tx.execute(
        "INSERT INTO document_uris (workspace_id, uri, document_id) VALUES (:w, :uri, :id)"
        " ON CONFLICT (workspace_id, uri) DO UPDATE SET document_id = excluded.document_id",
        {"w": workspace_id, "uri": uri, "id": document_id},
    )


def uris(tx: Transaction, document_id: str) -> list[str]:
    rows = tx.all("SELECT uri FROM document_uris WHERE document_id = :id ORDER BY uri", {"id": document_id})
    return [row["uri"] for row in rows]


def delete_uri(tx: Transaction, workspace_id: str, uri: str, document_id: str) -> None:
    tx.execute(
        "DELETE FROM document_uris WHERE workspace_id = :w AND uri = :uri AND document_id = :id",
        {"w": workspace_id, "uri": uri, "id": document_id},
    )


def delete_uris(tx: Transaction, document_id: str) -> None:
    tx.execute("DELETE FROM document_uris WHERE document_id = :id", {"id": document_id})


def add_tags(tx: Transaction, workspace_id: str, document_id: str, tags: Sequence[str]) -> None:
    tx.execute_many(
        "INSERT INTO document_tags (document_id, workspace_id, tag) VALUES (:id, :w, :tag)"
        " ON CONFLICT (document_id, tag) DO NOTHING",
        [{"id": document_id, "w": workspace_id, "tag": tag} for tag in tags],
    )


def text(tx: Transaction, document_id: str, version: int) -> DocumentText | None:
    row = tx.one(
        "SELECT text, text_sha256 FROM document_versions WHERE document_id = :id AND version = :version",
        {"id": document_id, "version": version},
    )
    if row is None or row["text"] is None:
        return None
    return DocumentText(document_id, version, row["text"], row["text_sha256"])


def version_row(tx: Transaction, document_id: str, version: int) -> Row | None:
    return tx.one(
        "SELECT * FROM document_versions WHERE document_id = :id AND version = :version",
        {"id": document_id, "version": version},
    )


def set_text(tx: Transaction, document_id: str, version: int, content: str, sha256: str) -> None:
    tx.execute(
        "UPDATE document_versions SET text = :text, text_sha256 = :sha256 WHERE document_id = :id AND version = :v",
        {"text": content, "sha256": sha256, "id": document_id, "v": version},
    )


def file_keys(tx: Transaction, document_id: str) -> list[str]:
    rows = tx.all(
        "SELECT file_key FROM document_versions WHERE document_id = :id AND file_key IS NOT NULL", {"id": document_id}
    )
    return [row["file_key"] for row in rows]


def replace_file(tx: Transaction, document_id: str, version: int, old_key: str, new_key: str | None) -> bool:
    return (
        tx.execute(
            "UPDATE document_versions SET file_key = :new WHERE document_id = :id AND version = :version"
            " AND file_key = :old",
            {"id": document_id, "version": version, "old": old_key, "new": new_key},
        )
        == 1
    )


def naming(tx: Transaction, document_id: str) -> dict[str, int]:
    """How many rows of each table name a document, those of its passages among them."""
    tables = {
        "documents": "id",
        **dict.fromkeys(
            ("document_versions", "document_tags", "document_uris", "passages", "links", "link_keys", "removals"),
            "document_id",
        ),
    }
    found = {}
    for table, column in tables.items():
        row = tx.one(f"SELECT count(*) AS n FROM {table} WHERE {column} = :id", {"id": document_id})
        found[table] = row["n"] if row else 0
    return found


def with_content(tx: Transaction, workspace_id: str, sha256s: Sequence[str], before: float) -> int:
    """How many documents, taken in before a time, have any of these contents."""
    marks = ", ".join(f":s{n}" for n in range(len(sha256s)))
    row = tx.one(
        "SELECT count(*) AS n FROM document_versions v JOIN documents d ON d.id = v.document_id"
        f" WHERE d.workspace_id = :w AND d.created_at < :before AND v.sha256 IN ({marks})",
        {"w": workspace_id, "before": before, **{f"s{n}": value for n, value in enumerate(sha256s)}},
    )
    return row["n"] if row else 0


def contents(tx: Transaction, document_id: str) -> Sequence[Row]:
    """(sha256, text) of every version."""
    return tx.all("SELECT sha256, text FROM document_versions WHERE document_id = :id", {"id": document_id})


def is_file_known(tx: Transaction, file_key: str) -> bool:
    return tx.one("SELECT 1 FROM document_versions WHERE file_key = :key", {"key": file_key}) is not None


def known_files(tx: Transaction) -> set[str]:
    return {row["file_key"] for row in tx.all("SELECT file_key FROM document_versions WHERE file_key IS NOT NULL")}


def count_originals(tx: Transaction) -> int:
    row = tx.one(f"SELECT count(DISTINCT v.file_key) AS n {_ORIGINALS}")
    return row["n"] if row else 0


def originals(tx: Transaction) -> Iterator[tuple[str, str]]:
    for row in tx.each(f"SELECT DISTINCT v.file_key, v.sha256 {_ORIGINALS} ORDER BY v.file_key"):
        yield row["file_key"], row["sha256"]


def any_at_all(tx: Transaction) -> bool:
    return tx.one("SELECT 1 FROM documents LIMIT 1") is not None


def any_erasing(tx: Transaction) -> bool:
    return tx.one("SELECT 1 FROM documents WHERE state = 'erasing' LIMIT 1") is not None


def update_version(tx: Transaction, document: Document, changes: Mapping[str, Any]) -> None:
    assignments = ", ".join(f"{column} = :{column}" for column in changes)
    tx.execute(
        f"UPDATE document_versions SET {assignments} WHERE document_id = :id AND version = :version",
        {**changes, "id": document.id, "version": document.version},
    )


def delete(tx: Transaction, document_id: str) -> None:
    """Every row of a document; its passages are gone before."""
    for table, column in (
        ("links", "document_id"),
        ("link_keys", "document_id"),
        ("document_tags", "document_id"),
        ("document_uris", "document_id"),
        ("document_versions", "document_id"),
        ("documents", "id"),
    ):
        tx.execute(f"DELETE FROM {table} WHERE {column} = :id", {"id": document_id})
