"""The rows of jobs and of the items of batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pegasus.domain import Job, JobState, Lane
from pegasus.ports import Row, Transaction

_UNFINISHED = "('queued', 'running')"


def job_from(row: Row) -> Job:
    return Job(
        id=row["id"],
        workspace_id=row["workspace_id"],
        kind=row["kind"],
        state=JobState(row["state"]),
        lane=Lane(row["lane"]),
        step=row["step"],
        attempts=row["attempts"],
        priority=row["priority"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        document_id=row["document_id"],
        version=row["version"],
        parent_id=row["parent_id"],
        progress=json.loads(row["progress"]),
        payload=json.loads(row["payload"]),
        result=json.loads(row["result"]) if row["result"] else None,
        error=json.loads(row["error"]) if row["error"] else None,
        lease_owner=row["lease_owner"],
    )


def insert(tx: Transaction, job: Job) -> None:
    tx.execute(
        "INSERT INTO jobs (id, workspace_id, kind, state, lane, step, priority, attempts, document_id, version,"
        " parent_id, progress, payload, run_after, created_at, updated_at) VALUES (:id, :workspace_id, :kind, :state,"
        " :lane, :step, :priority, 0, :document_id, :version, :parent_id, :progress, :payload, :now, :now, :now)",
        {
            "id": job.id,
            "workspace_id": job.workspace_id,
            "kind": job.kind,
            "state": job.state.value,
            "lane": job.lane.value,
            "step": job.step,
            "priority": job.priority,
            "document_id": job.document_id,
            "version": job.version,
            "parent_id": job.parent_id,
            "progress": json.dumps(job.progress),
            "payload": json.dumps(job.payload),
            "now": job.created_at,
        },
    )


def get(tx: Transaction, job_id: str) -> Job | None:
    row = tx.one("SELECT * FROM jobs WHERE id = :id", {"id": job_id})
    return job_from(row) if row else None


def list_page(
    tx: Transaction, workspace_id: str, state: JobState | None, document_id: str | None, cursor: str | None, limit: int
) -> list[Job]:
    """Newest first."""
    rows = tx.all(
        "SELECT * FROM jobs WHERE workspace_id = :workspace_id AND (:state IS NULL OR state = :state)"
        " AND (:document_id IS NULL OR document_id = :document_id) AND (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {
            "workspace_id": workspace_id,
            "state": state.value if state else None,
            "document_id": document_id,
            "cursor": cursor,
            "limit": limit,
        },
    )
    return [job_from(row) for row in rows]


def claim(
    tx: Transaction, lane: Lane, limit: int, *, fresh: bool, owner: str, now: float, lease_seconds: float
) -> list[Job]:
    """Lease up to ``limit`` jobs that are due: fresh ones, or such as have been tried before.

    A job waits while an earlier job of the same document is unfinished, so that versions and erasures of a document
    never overtake each other.
    """
    rows = tx.all(
        "UPDATE jobs SET state = 'running', lease_owner = :owner, lease_until = :until, attempts = attempts + 1,"
        f" updated_at = :now WHERE id IN (SELECT id FROM jobs j WHERE j.lane = :lane AND j.state IN {_UNFINISHED}"
        " AND (j.state = 'queued' OR (j.state = 'running' AND j.lease_until < :now))"
        # Only a backoff makes a job wait; a fresh one is due even when the clock was set back since.
        " AND (j.run_after <= :now OR j.attempts = 0)"
        f" AND {'j.attempts = 0' if fresh else 'j.attempts > 0'}"
        " AND NOT EXISTS (SELECT 1 FROM jobs e WHERE e.document_id = j.document_id AND e.id < j.id"
        f" AND e.state IN {_UNFINISHED}) ORDER BY j.priority, j.run_after, j.id LIMIT :limit) RETURNING *",
        {"owner": owner, "until": now + lease_seconds, "lane": lane.value, "now": now, "limit": limit},
    )
    return sorted((job_from(row) for row in rows), key=lambda job: (job.priority, job.id))


def has_due(tx: Transaction, lane: Lane, now: float) -> bool:
    """Whether a claim may find something; asked before the write that a claim is."""
    return (
        tx.one(
            f"SELECT 1 FROM jobs j WHERE j.lane = :lane AND j.state IN {_UNFINISHED}"
            " AND (j.run_after <= :now OR j.attempts = 0) AND (j.state = 'queued' OR j.lease_until < :now) LIMIT 1",
            {"lane": lane.value, "now": now},
        )
        is not None
    )


def renew(tx: Transaction, job_ids: Sequence[str], owner: str, until: float) -> None:
    tx.execute_many(
        "UPDATE jobs SET lease_until = :until WHERE id = :id AND lease_owner = :owner AND state = 'running'",
        [{"id": job_id, "owner": owner, "until": until} for job_id in job_ids],
    )


def update_held(tx: Transaction, job: Job, owner: str, changes: Mapping[str, Any]) -> bool:
    """Change a job's columns only while ``owner`` holds it; False when it was cancelled or taken over."""
    assignments = ", ".join(f"{column} = :{column}" for column in changes)
    return (
        tx.execute(
            f"UPDATE jobs SET {assignments} WHERE id = :id AND lease_owner = :owner AND state = 'running'",
            {**changes, "id": job.id, "owner": owner},
        )
        == 1
    )


def update_in_state(tx: Transaction, job_id: str, states: Sequence[JobState], changes: Mapping[str, Any]) -> bool:
    assignments = ", ".join(f"{column} = :{column}" for column in changes)
    marks = ", ".join(f"'{state.value}'" for state in states)
    return tx.execute(f"UPDATE jobs SET {assignments} WHERE id = :id AND state IN ({marks})",
                      {**changes, "id": job_id}) == 1  # fmt: skip


def cancel_children(tx: Transaction, parent_id: str, now: float) -> None:
    tx.execute(
        "UPDATE jobs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL, updated_at = :now"
        f" WHERE parent_id = :id AND state IN {_UNFINISHED}",
        {"id": parent_id, "now": now},
    )


def cancel_all(tx: Transaction, workspace_id: str, now: float) -> set[str]:
    """The parents of those that were cancelled."""
    rows = tx.all(
        "UPDATE jobs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL, updated_at = :now"
        f" WHERE workspace_id = :w AND state IN {_UNFINISHED} RETURNING parent_id",
        {"w": workspace_id, "now": now},
    )
    return {row["parent_id"] for row in rows if row["parent_id"]}


def forget_workspace(tx: Transaction, workspace_id: str) -> None:
    """As ``forget_document``, for all documents of a workspace: a repair of the installation names them, too."""
    tx.execute(
        "UPDATE batch_items SET name = '(erased)', error = NULL"
        " WHERE document_id IN (SELECT id FROM documents WHERE workspace_id = :w)",
        {"w": workspace_id},
    )


def release_all_running(tx: Transaction, now: float) -> int:
    """Put every leased job back in the queue; only right when no worker can be alive."""
    return tx.execute(
        "UPDATE jobs SET state = 'queued', lease_owner = NULL, lease_until = NULL, updated_at = :now,"
        " run_after = :now WHERE state = 'running' AND lease_owner IS NOT NULL",
        {"now": now},
    )


def has_unfinished(tx: Transaction, document_id: str) -> bool:
    return (
        tx.one(f"SELECT 1 FROM jobs WHERE document_id = :id AND state IN {_UNFINISHED} LIMIT 1", {"id": document_id})
        is not None
    )


def payloads(tx: Transaction, kind: str, states: Sequence[JobState]) -> list[Mapping[str, Any]]:
    marks = ", ".join(f"'{state.value}'" for state in states)
    rows = tx.all(f"SELECT payload FROM jobs WHERE kind = :kind AND state IN ({marks})", {"kind": kind})
    return [json.loads(row["payload"]) for row in rows]


def files_to_unpack(tx: Transaction) -> set[str]:
    rows = tx.all(
        "SELECT payload FROM jobs WHERE kind = 'unpack' AND step = 'unpack' AND state NOT IN ('succeeded', 'cancelled')"
    )
    return {json.loads(row["payload"])["file_key"] for row in rows}


def has_unfinished_child(tx: Transaction, parent_id: str) -> bool:
    return (
        tx.one(f"SELECT 1 FROM jobs WHERE parent_id = :id AND state IN {_UNFINISHED} LIMIT 1", {"id": parent_id})
        is not None
    )


def interrupted_parents(tx: Transaction) -> list[Job]:
    """Batches whose stream ended with the process that took it in, or whose last child finished just before."""
    rows = tx.all("SELECT * FROM jobs WHERE state = 'running' AND lease_owner IS NULL")
    return [job_from(row) for row in rows]


def insert_item(
    tx: Transaction,
    job_id: str,
    ordinal: int,
    name: str,
    outcome: str,
    document_id: str | None,
    item_job_id: str | None,
    error: Mapping[str, Any] | None,
) -> None:
    """Writing an item again, as a resumed unpacking does, replaces it."""
    tx.execute(
        "INSERT INTO batch_items (job_id, ordinal, name, outcome, document_id, item_job_id, error) VALUES (:job_id,"
        " :ordinal, :name, :outcome, :document_id, :item_job_id, :error) ON CONFLICT (job_id, ordinal) DO UPDATE SET"
        " outcome = excluded.outcome, document_id = excluded.document_id, item_job_id = excluded.item_job_id,"
        " error = excluded.error",
        {
            "job_id": job_id,
            "ordinal": ordinal,
            "name": name,
            "outcome": outcome,
            "document_id": document_id,
            "item_job_id": item_job_id,
            "error": json.dumps(error) if error else None,
        },
    )


def forget_document(tx: Transaction, document_id: str) -> None:
    """Names and errors may quote the document."""
    tx.execute("UPDATE batch_items SET name = '(erased)', error = NULL WHERE document_id = :id", {"id": document_id})
    tx.execute("UPDATE jobs SET error = NULL, result = NULL WHERE document_id = :id", {"id": document_id})


def items(tx: Transaction, job_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Items in order, each with the state and error that its own job has now."""
    rows = tx.all(
        "SELECT i.*, j.state AS job_state, j.error AS job_error FROM batch_items i LEFT JOIN jobs j"
        " ON j.id = i.item_job_id WHERE i.job_id = :id AND i.ordinal > :after ORDER BY i.ordinal LIMIT :limit",
        {"id": job_id, "after": after, "limit": limit},
    )
    return [
        {
            "ordinal": row["ordinal"],
            "name": row["name"],
            "outcome": row["outcome"],
            "document_id": row["document_id"],
            "job_id": row["item_job_id"],
            "state": row["job_state"] or ("failed" if row["error"] else "succeeded"),
            "error": json.loads(row["error"] or row["job_error"] or "null"),
        }
        for row in rows
    ]


def failed_items(tx: Transaction, job_id: str, limit: int) -> list[dict[str, Any]]:
    rows = tx.all(
        "SELECT i.name, coalesce(i.error, j.error) AS error FROM batch_items i LEFT JOIN jobs j ON j.id = i.item_job_id"
        " WHERE i.job_id = :id AND (i.error IS NOT NULL OR j.state IN ('failed', 'dead'))"
        " ORDER BY i.ordinal LIMIT :limit",
        {"id": job_id, "limit": limit},
    )
    return [{"item": row["name"], **json.loads(row["error"] or "{}")} for row in rows]


def last_ordinal(tx: Transaction, job_id: str) -> int:
    row = tx.one("SELECT max(ordinal) AS last FROM batch_items WHERE job_id = :id", {"id": job_id})
    return (row["last"] if row else None) or 0


def item_counts(tx: Transaction, job_id: str) -> tuple[int, int, int]:
    """(items, of these finished, of these failed)."""
    row = tx.one(
        "SELECT count(*) AS total,"
        f" sum(CASE WHEN j.state IN {_UNFINISHED} THEN 0 ELSE 1 END) AS done,"
        " sum(CASE WHEN i.error IS NOT NULL OR j.state IN ('failed', 'dead') THEN 1 ELSE 0 END) AS failed"
        " FROM batch_items i LEFT JOIN jobs j ON j.id = i.item_job_id WHERE i.job_id = :id",
        {"id": job_id},
    )
    return (row["total"], row["done"] or 0, row["failed"] or 0) if row else (0, 0, 0)
