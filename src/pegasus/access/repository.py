"""The rows of workspaces, API keys, audit events and remembered answers to idempotent requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegasus.access.scopes import Scope
from pegasus.domain import Rate
from pegasus.patterns import containing
from pegasus.ports import Row, Transaction


@dataclass(frozen=True, slots=True)
class Workspace:
    id: str
    name: str
    created_at: float


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    workspace_id: str
    name: str
    hint: str  # The first characters, to tell keys apart.
    scope: Scope
    created_at: float
    expires_at: float | None = None
    rate_limit: Rate | None = None
    max_body_bytes: int | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None

    def is_usable(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    id: str
    workspace_id: str
    position: int  # From 1, without a gap in each workspace
    at: float
    key_id: str | None
    action: str
    subject_id: str
    outcome: str
    request_id: str | None
    sha256: str


def _key_from(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        hint=row["hint"],
        scope=Scope(row["scope"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        rate_limit=Rate.parse(row["rate_limit"]) if row["rate_limit"] else None,
        max_body_bytes=row["max_body_bytes"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )


def _event_from(row: Row) -> AuditEvent:
    return AuditEvent(
        row["id"], row["workspace_id"], row["position"], row["at"], row["key_id"], row["action"], row["subject_id"],
        row["outcome"], row["request_id"], row["sha256"],
    )  # fmt: skip


def insert_workspace(tx: Transaction, workspace_id: str, name: str, now: float) -> None:
    tx.execute(
        "INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, :now)",
        {"id": workspace_id, "name": name, "now": now},
    )


def first_workspace(tx: Transaction) -> str | None:
    row = tx.one("SELECT id FROM workspaces ORDER BY id LIMIT 1")
    return row["id"] if row else None


def list_workspaces(tx: Transaction, cursor: str | None, limit: int) -> Sequence[Workspace]:
    rows = tx.all(
        "SELECT id, name, created_at FROM workspaces WHERE (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {"cursor": cursor, "limit": limit},
    )
    return [Workspace(row["id"], row["name"], row["created_at"]) for row in rows]


def insert_key(tx: Transaction, key: ApiKey, key_sha256: str) -> None:
    tx.execute(
        "INSERT INTO api_keys (id, workspace_id, name, hint, key_sha256, scope, created_at, expires_at, rate_limit,"
        " max_body_bytes) VALUES (:id, :workspace_id, :name, :hint, :sha256, :scope, :now, :expires_at, :rate_limit,"
        " :max_body_bytes)",
        {
            "id": key.id,
            "workspace_id": key.workspace_id,
            "name": key.name,
            "hint": key.hint,
            "sha256": key_sha256,
            "scope": key.scope.value,
            "now": key.created_at,
            "expires_at": key.expires_at,
            "rate_limit": str(key.rate_limit) if key.rate_limit else None,
            "max_body_bytes": key.max_body_bytes,
        },
    )


def find_key(tx: Transaction, key_sha256: str) -> ApiKey | None:
    """The key of this digest; none where its workspace is being erased."""
    row = tx.one(
        "SELECT k.* FROM api_keys k JOIN workspaces w ON w.id = k.workspace_id"
        " WHERE k.key_sha256 = :sha256 AND w.erasing_at IS NULL",
        {"sha256": key_sha256},
    )
    return _key_from(row) if row else None


def get_key(tx: Transaction, workspace_id: str, key_id: str) -> ApiKey | None:
    row = tx.one("SELECT * FROM api_keys WHERE id = :id AND workspace_id = :w", {"id": key_id, "w": workspace_id})
    return _key_from(row) if row else None


def list_keys(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Sequence[ApiKey]:
    rows = tx.all(
        "SELECT * FROM api_keys WHERE workspace_id = :w AND (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {"w": workspace_id, "cursor": cursor, "limit": limit},
    )
    return [_key_from(row) for row in rows]


def revoke(tx: Transaction, workspace_id: str, key_id: str, now: float) -> None:
    tx.execute(
        "UPDATE api_keys SET revoked_at = :now WHERE id = :id AND workspace_id = :w AND revoked_at IS NULL",
        {"now": now, "id": key_id, "w": workspace_id},
    )


def set_scope(tx: Transaction, key_id: str, scope: Scope) -> None:
    tx.execute("UPDATE api_keys SET scope = :scope WHERE id = :id", {"scope": scope.value, "id": key_id})


def touch(tx: Transaction, key_id: str, now: float) -> None:
    tx.execute("UPDATE api_keys SET last_used_at = :now WHERE id = :id", {"now": now, "id": key_id})


def find_response(tx: Transaction, workspace_id: str, key: str) -> Row | None:
    return tx.one(
        "SELECT request_sha256, status, response FROM idempotency_keys WHERE workspace_id = :w AND key = :key",
        {"w": workspace_id, "key": key},
    )


def insert_response(
    tx: Transaction, workspace_id: str, key: str, request_sha256: str, status: int, response: str, now: float
) -> None:
    tx.execute(
        "INSERT INTO idempotency_keys (workspace_id, key, request_sha256, status, response, created_at)"
        " VALUES (:w, :key, :sha256, :status, :response, :now)",
        {"w": workspace_id, "key": key, "sha256": request_sha256, "status": status, "response": response, "now": now},
    )


def delete_responses_before(tx: Transaction, workspace_id: str, time: float) -> None:
    tx.execute(
        "DELETE FROM idempotency_keys WHERE workspace_id = :w AND created_at < :t", {"w": workspace_id, "t": time}
    )


def delete_all_responses_before(tx: Transaction, time: float) -> int:
    return tx.execute("DELETE FROM idempotency_keys WHERE created_at < :t", {"t": time})


def empty_responses_with(tx: Transaction, workspace_id: str, text: str, status: int) -> int:
    return tx.execute(
        "UPDATE idempotency_keys SET status = :status, response = ''"
        " WHERE workspace_id = :w AND response LIKE :pattern ESCAPE '\\'",
        {"w": workspace_id, "pattern": containing(text), "status": status},
    )


def count_responses_with(tx: Transaction, workspace_id: str, text: str) -> int:
    row = tx.one(
        "SELECT count(*) AS n FROM idempotency_keys WHERE workspace_id = :w AND response LIKE :pattern ESCAPE '\\'",
        {"w": workspace_id, "pattern": containing(text)},
    )
    return row["n"] if row else 0


def next_position(tx: Transaction, workspace_id: str) -> tuple[int, str]:
    """Lock the end of a workspace's chain until the commit: (the next position, the digest that it follows)."""
    tx.execute(
        "INSERT INTO audit_heads (workspace_id, position, sha256) VALUES (:w, 1, '')"
        " ON CONFLICT (workspace_id) DO UPDATE SET position = audit_heads.position + 1",
        {"w": workspace_id},
    )
    return audit_head(tx, workspace_id)


def audit_head(tx: Transaction, workspace_id: str) -> tuple[int, str]:
    row = tx.one("SELECT position, sha256 FROM audit_heads WHERE workspace_id = :w", {"w": workspace_id})
    return (row["position"], row["sha256"]) if row else (0, "")


def append_event(tx: Transaction, event: AuditEvent) -> None:
    tx.execute(
        "INSERT INTO audit_events (id, workspace_id, position, at, key_id, action, subject_id, outcome, request_id,"
        " sha256) VALUES (:id, :w, :position, :at, :key_id, :action, :subject_id, :outcome, :request_id, :sha256)",
        {
            "id": event.id,
            "w": event.workspace_id,
            "position": event.position,
            "at": event.at,
            "key_id": event.key_id,
            "action": event.action,
            "subject_id": event.subject_id,
            "outcome": event.outcome,
            "request_id": event.request_id,
            "sha256": event.sha256,
        },
    )
    tx.execute(
        "UPDATE audit_heads SET sha256 = :sha256 WHERE workspace_id = :w",
        {"sha256": event.sha256, "w": event.workspace_id},
    )


def list_events(
    tx: Transaction, workspace_id: str, since: float | None, action: str | None, cursor: str | None, limit: int
) -> Sequence[AuditEvent]:
    rows = tx.all(
        "SELECT * FROM audit_events WHERE workspace_id = :w AND (:cursor IS NULL OR id < :cursor)"
        " AND (:since IS NULL OR at >= :since) AND (:action IS NULL OR action = :action)"
        " ORDER BY id DESC LIMIT :limit",
        {"w": workspace_id, "cursor": cursor, "since": since, "action": action, "limit": limit},
    )
    return [_event_from(row) for row in rows]


def events_after(tx: Transaction, workspace_id: str, position: int, limit: int) -> Sequence[AuditEvent]:
    rows = tx.all(
        "SELECT * FROM audit_events WHERE workspace_id = :w AND position > :position ORDER BY position LIMIT :limit",
        {"w": workspace_id, "position": position, "limit": limit},
    )
    return [_event_from(row) for row in rows]
