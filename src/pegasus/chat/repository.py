"""The rows of sessions and their messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from pegasus.domain import Citation, Message
from pegasus.ports import Row, Transaction


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    workspace_id: str
    title: str
    created_at: float
    updated_at: float


def _session_from(row: Row) -> Session:
    return Session(row["id"], row["workspace_id"], row["title"], row["created_at"], row["updated_at"])


def insert_session(tx: Transaction, session: Session) -> None:
    tx.execute(
        "INSERT INTO sessions (id, workspace_id, title, created_at, updated_at)"
        " VALUES (:id, :workspace_id, :title, :created_at, :updated_at)",
        asdict(session),
    )


def get_session(tx: Transaction, workspace_id: str, session_id: str) -> Session | None:
    row = tx.one("SELECT * FROM sessions WHERE id = :id AND workspace_id = :w", {"id": session_id, "w": workspace_id})
    return _session_from(row) if row else None


def list_sessions(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> list[Session]:
    """Newest first."""
    rows = tx.all(
        "SELECT * FROM sessions WHERE workspace_id = :w AND (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {"w": workspace_id, "cursor": cursor, "limit": limit},
    )
    return [_session_from(row) for row in rows]


def touch(tx: Transaction, session_id: str, title: str, now: float) -> None:
    tx.execute("UPDATE sessions SET title = :title, updated_at = :now WHERE id = :id",
               {"title": title, "now": now, "id": session_id})  # fmt: skip


def delete_session(tx: Transaction, session_id: str) -> None:
    tx.execute("DELETE FROM messages WHERE session_id = :id", {"id": session_id})
    tx.execute("DELETE FROM sessions WHERE id = :id", {"id": session_id})


def insert_message(tx: Transaction, message: Message) -> None:
    tx.execute(
        "INSERT INTO messages (id, session_id, role, content, citations, model, created_at)"
        " VALUES (:id, :session_id, :role, :content, :citations, :model, :created_at)",
        {
            "id": message.id,
            "session_id": message.session_id,
            "role": message.role,
            "content": message.content,
            "citations": json.dumps([asdict(citation) for citation in message.citations]),
            "model": message.model,
            "created_at": message.created_at,
        },
    )


def messages(tx: Transaction, session_id: str) -> Sequence[Message]:
    rows = tx.all("SELECT * FROM messages WHERE session_id = :id ORDER BY id", {"id": session_id})
    return [_message_from(row) for row in rows]


def messages_citing(tx: Transaction, workspace_id: str, document_id: str) -> Sequence[Message]:
    rows = tx.all(
        "SELECT m.* FROM messages m JOIN sessions s ON s.id = m.session_id WHERE s.workspace_id = :w"
        " AND m.citations LIKE '%' || :id || '%'",
        {"w": workspace_id, "id": document_id},
    )
    return [_message_from(row) for row in rows]


def citing(tx: Transaction, workspace_id: str) -> Iterator[Message]:
    rows = tx.each(
        "SELECT m.* FROM messages m JOIN sessions s ON s.id = m.session_id WHERE s.workspace_id = :w"
        " AND m.citations <> '[]'",
        {"w": workspace_id},
    )
    return (_message_from(row) for row in rows)


def replace_content(tx: Transaction, message_id: str, content: str, citations: Sequence[Citation]) -> None:
    tx.execute(
        "UPDATE messages SET content = :content, citations = :citations WHERE id = :id",
        {"content": content, "citations": json.dumps([asdict(c) for c in citations]), "id": message_id},
    )


def _message_from(row: Row) -> Message:
    return Message(
        id=row["id"],
        session_id=row["session_id"],
        role=row["role"],
        content=row["content"],
        created_at=row["created_at"],
        citations=[Citation(**citation) for citation in json.loads(row["citations"])],
        model=row["model"],
    )
