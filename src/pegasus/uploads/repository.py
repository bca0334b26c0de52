"""The rows of uploads."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pegasus.ports import Row, Transaction


@dataclass(frozen=True, slots=True)
class Upload:
    """What a caller has announced."""

    id: str
    workspace_id: str
    filename: str | None
    content_type: str | None
    size_bytes: int
    sha256: str
    created_at: float
    token_sha256: str  # Of what its URL has, where it leads to the API.
    taken_at: float | None = None  # When it was handed in


def _upload_from(row: Row) -> Upload:
    return Upload(
        row["id"], row["workspace_id"], row["filename"], row["content_type"], row["size_bytes"], row["sha256"],
        row["created_at"], row["token_sha256"], row["taken_at"],
    )  # fmt: skip


def insert(tx: Transaction, upload: Upload) -> None:
    tx.execute(
        "INSERT INTO uploads (id, workspace_id, filename, content_type, size_bytes, sha256, created_at, token_sha256,"
        " taken_at) VALUES (:id, :workspace_id, :filename, :content_type, :size_bytes, :sha256, :created_at,"
        " :token_sha256, :taken_at)",
        asdict(upload),
    )


def get(tx: Transaction, upload_id: str) -> Upload | None:
    row = tx.one("SELECT * FROM uploads WHERE id = :id", {"id": upload_id})
    return _upload_from(row) if row else None


def set_taken(tx: Transaction, upload_id: str, now: float) -> bool:
    """False where somebody was quicker."""
    sql = "UPDATE uploads SET taken_at = :now WHERE id = :id AND taken_at IS NULL"
    return tx.execute(sql, {"now": now, "id": upload_id}) == 1


def delete_before(tx: Transaction, time: float) -> int:
    return tx.execute("DELETE FROM uploads WHERE created_at < :t", {"t": time})
