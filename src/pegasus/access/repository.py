"""The rows of workspaces, API keys and remembered answers to idempotent requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegasus.ports import Row, Transaction


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    workspace_id: str
    name: str
    hint: str  # The first characters, to tell keys apart.
    created_at: float
    last_used_at: float | None
    revoked_at: float | None


def _key_from(row: Row) -> ApiKey:
    return ApiKey(
        row["id"], row["workspace_id"], row["name"], row["hint"], row["created_at"], row["last_used_at"],
        row["revoked_at"],
    )  # fmt: skip


def insert_workspace(tx: Transaction, workspace_id: str, name: str, now: float) -> None:
    tx.execute(
        "INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, :now)",
        {"id": workspace_id, "name": name, "now": now},
    )


def first_workspace(tx: Transaction) -> str | None:
    row = tx.one("SELECT id FROM workspaces ORDER BY id LIMIT 1")
    return row["id"] if row else None


def insert_key(tx: Transaction, key: ApiKey, key_sha256: str) -> None:
    tx.execute(
        "INSERT INTO api_keys (id, workspace_id, name, hint, key_sha256, created_at)"
        " VALUES (:id, :workspace_id, :name, :hint, :sha256, :now)",
        {
            "id": key.id,
            "workspace_id": key.workspace_id,
            "name": key.name,
            "hint": key.hint,
            "sha256": key_sha256,
            "now": key.created_at,
        },
    )


def find_key(tx: Transaction, key_sha256: str) -> ApiKey | None:
    row = tx.one("SELECT * FROM api_keys WHERE key_sha256 = :sha256", {"sha256": key_sha256})
    return _key_from(row) if row else None


def list_keys(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Sequence[ApiKey]:
    rows = tx.all(
        "SELECT * FROM api_keys WHERE workspace_id = :w AND (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {"w": workspace_id, "cursor": cursor, "limit": limit},
    )
    return [_key_from(row) for row in rows]


def revoke(tx: Transaction, workspace_id: str, key_id: str, now: float) -> bool:
    return tx.execute(
        "UPDATE api_keys SET revoked_at = :now WHERE id = :id AND workspace_id = :w AND revoked_at IS NULL",
        {"now": now, "id": key_id, "w": workspace_id},
    ) == 1  # fmt: skip


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


def empty_responses_with(tx: Transaction, workspace_id: str, text: str, status: int) -> None:
    tx.execute(
        "UPDATE idempotency_keys SET status = :status, response = ''"
        " WHERE workspace_id = :w AND response LIKE '%' || :text || '%'",
        {"w": workspace_id, "text": text, "status": status},
    )
