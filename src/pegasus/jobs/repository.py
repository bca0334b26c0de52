"""The rows of jobs and of the items of batches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pegasus.domain import Attempt, Job, JobState, Lane, Outcome
from pegasus.ports import Row, Transaction

_UNFINISHED = "('queued', 'running')"


_MOST_ATTEMPTS_KEPT = 20

# Among the payload, in whose place the schema has no column for it.
_TRACEPARENT = "traceparent"


def job_from(row: Row) -> Job:
    payload = json.loads(row["payload"])
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
        traceparent=payload.pop(_TRACEPARENT, None),
        payload=payload,
        result=json.loads(row["result"]) if row["result"] else None,
        error=json.loads(row["error"]) if row["error"] else None,
        lease_owner=row["lease_owner"],
        started_at=row["started_at"],
        crashes=row["crashes"],
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
            "payload": json.dumps({**job.payload, **({_TRACEPARENT: job.traceparent} if job.traceparent else {})}),
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
    # The state by itself, so that its index helps: the few dead letters are found among many that succeeded.
    rows = tx.all(
        f"SELECT * FROM jobs WHERE workspace_id = :workspace_id {'AND state = :state' if state else ''}"
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


# One index each: whoever has been tried before is found without a look at the many that have not, and the reverse.
_FRESH = "state = 'queued' AND attempts = 0"
_TRIED = "state = 'queued' AND attempts > 0 AND run_after <= :now"
_EXPIRED = "state = 'running' AND lease_until < :now"
# Of a fresh job it is not asked: the clock of the machine that made it may be ahead.
_DUE = "(attempts = 0 OR run_after <= :now)"
# Versions and erasures of a document never overtake each other.
_NOT_OVERTAKING = (
    "NOT EXISTS (SELECT 1 FROM jobs e WHERE e.document_id = j.document_id AND e.id < j.id"
    f" AND e.state IN {_UNFINISHED})"
)
# What looks at the derived stores as a whole, or puts others in their place: nobody may write to them meanwhile.
_NEEDING_ALL = "('rebuild', 'compact', 'repair', 'erase-workspace')"
# They are among the few of no document. Whatever else is asked of them is asked of an expression, so that no database
# takes an index by which it would look through all that wait.
_OF_NO_DOCUMENT = f"document_id IS NULL AND state IN {_UNFINISHED}"


def next_priority(tx: Transaction, lane: Lane, above: int, now: float, *, fresh: bool) -> int | None:
    """The most urgent priority after ``above`` in which a lane has jobs that are due."""
    row = tx.one(
        f"SELECT priority FROM jobs WHERE lane = :lane AND {_FRESH if fresh else _TRIED} AND priority > :above"
        " ORDER BY priority LIMIT 1",
        {"lane": lane.value, "above": above, "now": now},
    )
    return row["priority"] if row else None


def next_workspace(tx: Transaction, lane: Lane, priority: int, after: str, now: float, *, fresh: bool) -> str | None:
    """The next workspace, in the order of ids, with such jobs in a priority; after the last one the first again."""
    waiting = (
        f"SELECT workspace_id FROM jobs WHERE lane = :lane AND {_FRESH if fresh else _TRIED} AND priority = :priority"
    )
    in_order = "ORDER BY workspace_id LIMIT 1"
    row = tx.one(
        f"SELECT coalesce(({waiting} AND workspace_id > :after {in_order}), ({waiting} {in_order})) AS workspace_id",
        {"lane": lane.value, "priority": priority, "after": after, "now": now},
    )
    return row["workspace_id"] if row else None


def claim(
    tx: Transaction, lane: Lane, priority: int, workspace_id: str, limit: int, *, fresh: bool, owner: str, now: float,
    lease_seconds: float,
) -> list[Job]:  # fmt: skip
    """Lease up to ``limit`` jobs of one workspace that are due, the longest waiting first.

    A job waits while an earlier job of the same document is unfinished.
    """
    rows = tx.all(
        "WITH due AS (SELECT id FROM jobs j WHERE j.lane = :lane"
        f" AND {_FRESH if fresh else _TRIED} AND j.priority = :priority AND j.workspace_id = :workspace_id"
        f" AND {_NOT_OVERTAKING} ORDER BY j.run_after, j.id LIMIT :limit {tx.skip_locked})"
        " UPDATE jobs SET state = 'running', lease_owner = :owner, lease_until = :until, attempts = attempts + 1,"
        " started_at = :now, updated_at = :now WHERE id IN (SELECT id FROM due) RETURNING *",
        {
            "owner": owner,
            "until": now + lease_seconds,
            "lane": lane.value,
            "priority": priority,
            "workspace_id": workspace_id,
            "now": now,
            "limit": limit,
        },
    )
    return sorted((job_from(row) for row in rows), key=lambda job: job.id)


def has_due(tx: Transaction, lane: Lane, now: float) -> bool:
    """Whether a claim may find something; asked before the write that a claim is."""
    return any(
        tx.one(f"SELECT 1 FROM jobs WHERE lane = :lane AND {condition} LIMIT 1", {"lane": lane.value, "now": now})
        for condition in (_FRESH, _EXPIRED, _TRIED)
    )


def count_claimable(tx: Transaction, lane: Lane, now: float, most: int) -> int:
    """How many jobs of a lane could be claimed now, counted up to ``most``; a lease that has ended counts, too."""
    found = 0
    for condition in (f"{_FRESH} AND {_NOT_OVERTAKING}", f"{_TRIED} AND {_NOT_OVERTAKING}", _EXPIRED):
        row = tx.one(
            "SELECT count(*) AS n FROM"
            f" (SELECT 1 FROM jobs j WHERE j.lane = :lane AND {condition} LIMIT :most) AS claimable",
            {"lane": lane.value, "now": now, "most": most - found},
        )
        found += row["n"] if row else 0
    return found


def needing_all(tx: Transaction, lane: Lane, now: float) -> tuple[bool, bool]:
    """Whether a job that must be alone in its lane (runs, waits for its turn)."""
    rows = tx.all(
        f"SELECT state FROM jobs WHERE {_OF_NO_DOCUMENT} AND lane || '' = :lane"
        f" AND kind IN {_NEEDING_ALL} AND (lease_owner IS NOT NULL OR state = 'queued' AND {_DUE})",
        {"lane": lane.value, "now": now},
    )
    states = {row["state"] for row in rows}
    return "running" in states, "queued" in states


def claim_needing_all(tx: Transaction, lane: Lane, owner: str, now: float, lease_seconds: float) -> list[Job]:
    """Lease the oldest job that must be alone in its lane, if the lane is idle now. The transaction must be alone."""
    rows = tx.all(
        "UPDATE jobs SET state = 'running', lease_owner = :owner, lease_until = :until, attempts = attempts + 1,"
        f" started_at = :now, updated_at = :now WHERE id = (SELECT min(id) FROM jobs WHERE {_OF_NO_DOCUMENT}"
        f" AND state || '' = 'queued' AND lane || '' = :lane AND kind IN {_NEEDING_ALL} AND {_DUE})"
        " AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane = :lane AND state = 'running'"
        " AND lease_owner IS NOT NULL) RETURNING *",
        {"owner": owner, "until": now + lease_seconds, "lane": lane.value, "now": now},
    )
    return [job_from(row) for row in rows]


def expired(tx: Transaction, lane: Lane, now: float) -> list[Job]:
    rows = tx.all(
        "SELECT * FROM jobs WHERE lane = :lane AND state = 'running' AND lease_until < :now",
        {"lane": lane.value, "now": now},
    )
    return [job_from(row) for row in rows]


def leased(tx: Transaction) -> list[Job]:
    return [job_from(row) for row in tx.all("SELECT * FROM jobs WHERE state = 'running' AND lease_owner IS NOT NULL")]


def unleased(tx: Transaction) -> list[Job]:
    return [job_from(row) for row in tx.all("SELECT * FROM jobs WHERE state = 'running' AND lease_owner IS NULL")]


def renew(tx: Transaction, owner: str, until: float) -> float:
    """Prolong all leases of an owner; when one of its jobs last showed progress, 0.0 when it holds none."""
    rows = tx.all(
        "UPDATE jobs SET lease_until = :until WHERE state = 'running' AND lease_owner = :owner RETURNING updated_at",
        {"owner": owner, "until": until},
    )
    return max((row["updated_at"] for row in rows), default=0.0)


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


def cancel_children(tx: Transaction, parent_id: str, now: float) -> list[Job]:
    rows = tx.all(
        "UPDATE jobs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL, updated_at = :now"
        f" WHERE parent_id = :id AND state IN {_UNFINISHED} RETURNING *",
        {"id": parent_id, "now": now},
    )
    return [job_from(row) for row in rows]


def retry_dead(tx: Transaction, workspace_id: str, kind: str | None, now: float) -> list[Job]:
    rows = tx.all(
        "UPDATE jobs SET state = 'queued', attempts = 0, crashes = 0, error = NULL, run_after = :now,"
        " updated_at = :now WHERE workspace_id = :w AND state = 'dead' AND (:kind IS NULL OR kind = :kind) RETURNING *",
        {"w": workspace_id, "kind": kind, "now": now},
    )
    return [job_from(row) for row in rows]


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


def insert_attempt(
    tx: Transaction, job: Job, outcome: Outcome, error: Mapping[str, Any], now: float
) -> None:  # fmt: skip
    """The last one takes the place of the one before it where there are very many: a store may be away for a day."""
    tx.execute(
        "INSERT INTO job_attempts (job_id, number, step, worker, started_at, ended_at, outcome, error) VALUES (:id,"
        " (SELECT CASE WHEN count(*) < :most THEN count(*) + 1 ELSE :most END FROM job_attempts WHERE job_id = :id),"
        " :step, :worker, :started, :now, :outcome, :error) ON CONFLICT (job_id, number) DO UPDATE SET"
        " step = excluded.step, worker = excluded.worker, started_at = excluded.started_at,"
        " ended_at = excluded.ended_at, outcome = excluded.outcome, error = excluded.error",
        {
            "most": _MOST_ATTEMPTS_KEPT,
            "id": job.id,
            "step": job.step,
            "worker": job.lease_owner or "",
            "started": job.started_at or job.updated_at,
            "now": now,
            "outcome": outcome.value,
            "error": json.dumps(error),
        },
    )


def attempts(tx: Transaction, job_id: str) -> list[Attempt]:
    rows = tx.all("SELECT * FROM job_attempts WHERE job_id = :id ORDER BY number", {"id": job_id})
    return [
        Attempt(
            row["number"], row["step"], row["worker"], row["started_at"], row["ended_at"], Outcome(row["outcome"]),
            json.loads(row["error"]),
        )
        for row in rows
    ]  # fmt: skip


def mend_times(tx: Transaction, now: float, longest_wait_seconds: float, longest_lease_seconds: float) -> int:
    """Bring times that lie too far ahead to be meant so, as after the clock was set back, back to now."""
    waits = tx.execute(
        "UPDATE jobs SET run_after = :now WHERE state = 'queued' AND attempts > 0 AND run_after > :far",
        {"now": now, "far": now + longest_wait_seconds},
    )
    leases = tx.execute(
        "UPDATE jobs SET lease_until = :until WHERE state = 'running' AND lease_until > :far",
        {"until": now + longest_lease_seconds, "far": now + 2 * longest_lease_seconds},
    )
    return waits + leases


def delete_finished(tx: Transaction, before_id: str, before: float, limit: int) -> int:
    """Delete up to ``limit`` jobs that ended before a time, whose ids are before ``before_id``.

    Dead letters wait for a person, erasures are kept as evidence, and items stay as long as their batch.
    """
    rows = tx.all(
        "SELECT id FROM jobs j WHERE id < :before_id AND state IN ('succeeded', 'failed', 'cancelled')"
        " AND updated_at < :before AND kind NOT IN ('erase', 'erase-workspace')"
        " AND NOT EXISTS (SELECT 1 FROM jobs p WHERE p.id = j.parent_id)"
        f" AND NOT EXISTS (SELECT 1 FROM jobs c WHERE c.parent_id = j.id AND c.state IN {_UNFINISHED})"
        " ORDER BY id LIMIT :limit",
        {"before_id": before_id, "before": before, "limit": limit},
    )
    ids = [{"id": row["id"]} for row in rows]
    for table, column in (("batch_items", "job_id"), ("job_attempts", "job_id"), ("jobs", "id")):
        tx.execute_many(f"DELETE FROM {table} WHERE {column} = :id", ids)
    return len(ids)


def queue_lengths(tx: Transaction) -> list[Row]:
    """(lane, state, jobs, since) of the whole installation, from indexes alone; since when the oldest is due."""
    return [
        row
        for state, condition, since in (
            ("queued", _FRESH, "run_after"),
            ("retrying", "state = 'queued' AND attempts > 0", "run_after"),
            ("running", "state = 'running' AND lease_owner IS NOT NULL", "started_at"),
        )
        for row in tx.all(
            f"SELECT lane, '{state}' AS state, count(*) AS jobs, min({since}) AS since FROM jobs WHERE {condition}"
            " GROUP BY lane"
        )
    ]


def count_due(tx: Transaction, now: float) -> dict[str, int]:
    found: Counter[str] = Counter()
    for condition in (_FRESH, _TRIED):
        rows = tx.all(f"SELECT lane, count(*) AS n FROM jobs WHERE {condition} GROUP BY lane", {"now": now})
        found.update({row["lane"]: row["n"] for row in rows})
    return found


def count_dead(tx: Transaction) -> int:
    row = tx.one("SELECT count(*) AS n FROM jobs WHERE state = 'dead'")
    return row["n"] if row else 0


def count_by_state(tx: Transaction, workspace_id: str) -> dict[JobState, int]:
    counts = {}
    for state in JobState:
        row = tx.one(
            "SELECT count(*) AS n FROM jobs WHERE state = :state AND workspace_id = :w",
            {"state": state.value, "w": workspace_id},
        )
        counts[state] = row["n"] if row else 0
    return counts


def waiting_since(tx: Transaction, workspace_id: str) -> float | None:
    """When the oldest of a workspace's queued jobs was made."""
    row = tx.one(
        "SELECT created_at FROM jobs WHERE workspace_id = :w AND state = 'queued' ORDER BY id LIMIT 1",
        {"w": workspace_id},
    )
    return row["created_at"] if row else None


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
    tx.execute(
        "DELETE FROM job_attempts WHERE job_id IN (SELECT id FROM jobs WHERE document_id = :id)", {"id": document_id}
    )


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
