"""What can be done with a job. A job is a row in the same transaction as the change that wants it (an outbox)."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pegasus.domain import Job, JobState, Lane
from pegasus.errors import Conflict, NotFound, PegasusError
from pegasus.identifiers import new_id
from pegasus.jobs import repository
from pegasus.pagination import Page, page_of
from pegasus.ports import Transaction

INTERACTIVE, BULK = 0, 10  # Priorities: a person waits for the one; the other is an import.
_MAX_BACKOFF_SECONDS = 60.0
_RETRYABLE_BY_HAND = (JobState.FAILED, JobState.DEAD, JobState.CANCELLED)
_PARENTS = ("batch", "unpack", "source", "repair")
_ERASURES = ("erase", "erase-workspace")
# What a parent does while it only stands for its items.
_WAITING_STEPS = ("accepting", "items", "done")


def enqueue(
    tx: Transaction,
    workspace_id: str,
    kind: str,
    lane: Lane,
    step: str,
    *,
    document_id: str | None = None,
    version: int | None = None,
    parent_id: str | None = None,
    priority: int = INTERACTIVE,
    payload: Mapping[str, Any] | None = None,
) -> Job:
    now = time.time()
    job = Job(
        id=new_id(),
        workspace_id=workspace_id,
        kind=kind,
        state=JobState.QUEUED,
        lane=lane,
        step=step,
        attempts=0,
        priority=priority,
        created_at=now,
        updated_at=now,
        document_id=document_id,
        version=version,
        parent_id=parent_id,
        payload=payload or {},
    )
    repository.insert(tx, job)
    return job


def open_batch(tx: Transaction, workspace_id: str) -> Job:
    """A job that only stands for its items; it runs until ``close_batch`` was called and its last item is done."""
    job = enqueue(tx, workspace_id, "batch", Lane.READ, "accepting", priority=BULK)
    repository.update_in_state(tx, job.id, [JobState.QUEUED], {"state": JobState.RUNNING.value})
    return get(tx, workspace_id, job.id)


def close_batch(tx: Transaction, job: Job) -> None:
    repository.update_in_state(tx, job.id, [JobState.RUNNING], {"step": "items"})
    settle_parent(tx, job.id)


def get(tx: Transaction, workspace_id: str, job_id: str) -> Job:
    job = repository.get(tx, job_id)
    if job is None or job.workspace_id != workspace_id:
        raise NotFound(f"There is no job {job_id}.", hint="List the jobs with: pegasus jobs list")
    return job if job.kind not in _PARENTS else _with_item_counts(tx, job)


def _with_item_counts(tx: Transaction, job: Job) -> Job:
    total, done, failed = repository.item_counts(tx, job.id)
    # A run of a source knows how many there will be before it has made them.
    total = max(total, job.progress.get("total", 0))
    return replace(job, progress={**job.progress, "total": total, "done": done, "failed": failed})


def list_page(
    tx: Transaction, workspace_id: str, state: JobState | None, document_id: str | None, cursor: str | None, limit: int
) -> Page[Job]:
    return page_of(repository.list_page(tx, workspace_id, state, document_id, cursor, limit + 1), limit)


def retry(tx: Transaction, workspace_id: str, job_id: str) -> Job:
    job = get(tx, workspace_id, job_id)
    if job.kind in _PARENTS and job.step in _WAITING_STEPS:
        raise Conflict("A batch has nothing of its own to retry.", hint="Retry the jobs of its failed items.")
    if job.kind == "source" and job.state is JobState.CANCELLED:
        raise Conflict("A cancelled run is not taken up again.", hint="Run the source: that takes in what is left.")
    now = time.time()
    changes = {"state": JobState.QUEUED.value, "attempts": 0, "error": None, "run_after": now, "updated_at": now}
    if not repository.update_in_state(tx, job_id, _RETRYABLE_BY_HAND, changes):
        raise Conflict(
            f"The job is {job.state}; only failed, dead or cancelled jobs can be retried.",
            hint="See its state.",
        )
    return get(tx, workspace_id, job_id)


def cancel(tx: Transaction, workspace_id: str, job_id: str) -> Job:
    job = get(tx, workspace_id, job_id)
    if job.kind in _ERASURES:
        raise Conflict(
            "An erasure cannot be cancelled: a part of what it erases may be gone already.",
            hint="Let it finish; what you still have elsewhere can be added again.",
        )
    changes = {"state": JobState.CANCELLED.value, "lease_owner": None, "lease_until": None, "updated_at": time.time()}
    if not repository.update_in_state(tx, job_id, [JobState.QUEUED, JobState.RUNNING], changes):
        raise Conflict(
            f"The job is {job.state} already; only queued or running jobs can be cancelled.",
            hint="To take its document out again, erase it.",
        )
    repository.cancel_children(tx, job_id, time.time())
    if job.parent_id:
        settle_parent(tx, job.parent_id)
    return get(tx, workspace_id, job_id)


def cancel_all(tx: Transaction, workspace_id: str) -> None:
    """Stop all that is queued or running for a workspace that is being erased, its erasures of documents too; and
    keep of its documents no more than their ids in the jobs of other workspaces."""
    for parent_id in repository.cancel_all(tx, workspace_id, time.time()):
        settle_parent(tx, parent_id)
    repository.forget_workspace(tx, workspace_id)


def report_progress(tx: Transaction, job: Job, owner: str, step: str, done: int, total: int) -> bool:
    """Record how far a step is; False when the job is no longer the caller's, who must then stop."""
    changes = {"step": step, "progress": json.dumps({"done": done, "total": total}), "updated_at": time.time()}
    return repository.update_held(tx, job, owner, changes)


def is_held(tx: Transaction, job: Job, owner: str, *, progressed: bool = False) -> bool:
    """Whether the job is still the caller's, for a transaction that writes something else.

    ``progressed``: that brings the job nearer to its end for good, so that the attempts before it count no longer.
    """
    changes = {"updated_at": time.time(), **({"attempts": 0} if progressed else {})}
    return repository.update_held(tx, job, owner, changes)


def hand_over(tx: Transaction, job: Job, owner: str, lane: Lane, step: str) -> bool:
    """Queue the job's next step. What came before has worked, so attempts are counted afresh."""
    now = time.time()
    changes = {
        "state": JobState.QUEUED.value,
        "lane": lane.value,
        "step": step,
        "attempts": 0,
        "run_after": now,
        "updated_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
    return repository.update_held(tx, job, owner, changes)


def await_items(tx: Transaction, job: Job, owner: str) -> None:
    """The job's own work is done; from here it stands for the items that it made."""
    changes = {"step": "items", "lease_owner": None, "lease_until": None, "updated_at": time.time()}
    if repository.update_held(tx, job, owner, changes):
        settle_parent(tx, job.id)


def succeed(tx: Transaction, job: Job, owner: str, result: Mapping[str, Any]) -> bool:
    return _finish(tx, job, owner, JobState.SUCCEEDED, result=json.dumps(result), step="done")


def fail(tx: Transaction, job: Job, owner: str, error: PegasusError, max_attempts: int) -> JobState | None:
    """Settle a failed attempt: again later if that may help and attempts are left, else failed or dead.

    None when the job is no longer the caller's, whose failure then means nothing.
    """
    problem = json.dumps(error.problem())
    if not error.retryable or job.attempts >= max_attempts:
        state = JobState.DEAD if error.retryable else JobState.FAILED
        return state if _finish(tx, job, owner, state, error=problem) else None
    now = time.time()
    changes = {
        "state": JobState.QUEUED.value,
        "error": problem,
        "run_after": now + backoff_seconds(job.attempts),
        "updated_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
    return JobState.QUEUED if repository.update_held(tx, job, owner, changes) else None


def backoff_seconds(attempts: int) -> float:
    """Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015), at least half a second."""
    return 0.5 + random.uniform(0, min(_MAX_BACKOFF_SECONDS, 2.0 ** min(attempts, 10)))


def _finish(tx: Transaction, job: Job, owner: str, state: JobState, **changes: Any) -> bool:
    base = {"state": state.value, "lease_owner": None, "lease_until": None, "updated_at": time.time()}
    if not repository.update_held(tx, job, owner, {"error": None, **base, **changes}):
        return False
    if job.parent_id:
        settle_parent(tx, job.parent_id)
    return True


def add_item(
    tx: Transaction,
    job: Job,
    ordinal: int,
    name: str,
    outcome: str,
    *,
    document_id: str | None = None,
    item_job_id: str | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Record what became of one item of a batch; ordinals count from 1."""
    repository.insert_item(tx, job.id, ordinal, name, outcome, document_id, item_job_id, error)


def last_item(tx: Transaction, job: Job) -> int:
    return repository.last_ordinal(tx, job.id)


def items(tx: Transaction, workspace_id: str, job_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Outcomes in order, those after ordinal ``after``; each with the state of its own job by now."""
    get(tx, workspace_id, job_id)
    return repository.items(tx, job_id, after, limit)


def forget_document(tx: Transaction, document_id: str) -> None:
    """Keep of a document that is erased no more in the history of jobs than its id."""
    repository.forget_document(tx, document_id)


def failed_items(tx: Transaction, job: Job, limit: int) -> list[dict[str, Any]]:
    """The first items that failed, whether they were refused or their own job failed."""
    return repository.failed_items(tx, job.id, limit)


def has_unfinished(tx: Transaction, document_id: str) -> bool:
    return repository.has_unfinished(tx, document_id)


def archive_files(tx: Transaction) -> set[str]:
    """Keys of the stored archives that a job is still to unpack, or may be retried to."""
    states = [JobState.QUEUED, JobState.RUNNING, JobState.FAILED, JobState.DEAD]
    return {payload["file_key"] for payload in repository.payloads(tx, "unpack", states)}


def files_to_unpack(tx: Transaction) -> set[str]:
    """Those of ``archive_files`` that are there for certain: an archive goes when its last member is taken in."""
    return repository.files_to_unpack(tx)


def settle_parent(tx: Transaction, parent_id: str) -> None:
    """Finish a batch whose items are all taken in and none of whose jobs is unfinished."""
    parent = repository.get(tx, parent_id)
    if parent is None or parent.step != "items" or repository.has_unfinished_child(tx, parent_id):
        return
    total, _, failed = repository.item_counts(tx, parent_id)
    changes = {
        "state": JobState.SUCCEEDED.value,
        "step": "done",
        "result": json.dumps({"items": total, "failed": failed}),
        "updated_at": time.time(),
    }
    repository.update_in_state(tx, parent_id, [JobState.RUNNING], changes)


def recover(tx: Transaction) -> int:
    """Queue again what the process before this one was doing. Only for a store that one process owns."""
    for parent in repository.interrupted_parents(tx):
        close_batch(tx, parent)
    return repository.release_all_running(tx, time.time())
