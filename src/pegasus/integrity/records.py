"""The rows that tell which backups were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pegasus.ports import Row, Transaction


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """A backup that was begun, and, once it has a digest, also finished."""

    id: str
    name: str  # the file's, without its folder
    created_at: float
    expires_at: float | None  # when it is to be deleted; None where nobody has said
    sha256: str | None
    size_bytes: int | None
    counts: Mapping[str, int]


def _record_from(row: Row) -> BackupRecord:
    return BackupRecord(
        row["id"], row["name"], row["created_at"], row["expires_at"], row["sha256"], row["size_bytes"],
        json.loads(row["counts"]),
    )  # fmt: skip


def insert(tx: Transaction, backup_id: str, name: str, now: float, expires_at: float | None) -> None:
    tx.execute(
        "INSERT INTO backups (id, name, created_at, expires_at, counts) VALUES (:id, :name, :now, :expires_at, '{}')",
        {"id": backup_id, "name": name, "now": now, "expires_at": expires_at},
    )


def finish(tx: Transaction, backup_id: str, sha256: str, size_bytes: int, counts: Mapping[str, int]) -> None:
    tx.execute(
        "UPDATE backups SET sha256 = :sha256, size_bytes = :size, counts = :counts WHERE id = :id",
        {"id": backup_id, "sha256": sha256, "size": size_bytes, "counts": json.dumps(counts)},
    )


def delete(tx: Transaction, backup_id: str) -> None:
    tx.execute("DELETE FROM backups WHERE id = :id", {"id": backup_id})


def delete_unfinished(tx: Transaction, name: str) -> None:
    tx.execute("DELETE FROM backups WHERE name = :name AND sha256 IS NULL", {"name": name})


def names(tx: Transaction) -> set[str]:
    """Of all backups that were ever begun and not deleted."""
    return {row["name"] for row in tx.all("SELECT DISTINCT name FROM backups")}


def kept(tx: Transaction, created_before: float, now: float) -> list[BackupRecord]:
    """Oldest first."""
    rows = tx.all(
        "SELECT * FROM backups WHERE created_at < :before AND (expires_at IS NULL OR expires_at > :now)"
        " ORDER BY created_at, id",
        {"before": created_before, "now": now},
    )
    return [_record_from(row) for row in rows]
