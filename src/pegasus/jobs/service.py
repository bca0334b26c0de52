"""What can be done with a job. A job is a row in the same transaction as the change that wants it (an outbox)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Any

from pegasus import metrics, tracing
from pegasus.domain import Attempt, Job, JobState, Lane, Outcome
from pegasus.errors import Conflict, NotFound, PegasusError, WorkerLost
from pegasus.identifiers import first_id_at, new_id
from pegasus.jobs import policy, repository
from pegasus.pagination import Page, page_of
from pegasus.ports import Transaction
from pegasus.schemas import moment

INTERACTIVE, BULK = 0, 10  # Priorities: a person waits for the one; the other is an import.
_RETRYABLE_BY_HAND = (JobState.FAILED, JobState.DEAD, JobState.CANCELLED)
_PARENTS = ("batch", "unpack", "source", "repair")
_ACCEPTING, _ITEMS = "accepting", "items"  # Steps of a parent: taking items in, and standing for them.
_ERASURES = ("erase", "erase-workspace")
# What a parent does while it only stands for its items.
_WAITING_STEPS = (_ACCEPTING, _ITEMS, "done")
_BATCH_LEASE_SECONDS = 60.0
# Workspaces that one claim serves; with more of them it goes on from there the next time.
_MOST_IN_TURN = 32
_DELETED_AT_ONCE = 500


class LaneState(Enum):
    """Some jobs look at the derived stores as a whole or exchange them, and must be the only ones of their lane."""

    FREE = "free"
    RESERVED = "reserved"  # Such a job waits for those that run; nothing else is begun.
    TAKEN = "taken"


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
        traceparent=tracing.traceparent(),
    )
    repository.insert(tx, job)
    return job


def open_batch(tx: Transaction, workspace_id: str, lease_seconds: float = _BATCH_LEASE_SECONDS) -> Job:
    """A job that only stands for its items; it runs until ``close_batch`` was called and its last item is done.

    Whoever takes the items in holds it by a lease, to be prolonged with ``keep_batch``; when it lapses, the batch is
    closed with the items that it has.
    """
    job = enqueue(tx, workspace_id, "batch", Lane.READ, _ACCEPTING, priority=BULK)
    changes = {
        "state": JobState.RUNNING.value,
        "lease_owner": f"intake-{new_id()}",
        "lease_until": job.created_at + lease_seconds,
    }
    repository.update_in_state(tx, job.id, [JobState.QUEUED], changes)
    return get(tx, workspace_id, job.id)


def keep_batch(tx: Transaction, job: Job, lease_seconds: float = _BATCH_LEASE_SECONDS) -> bool:
    """Prolong the lease of an open batch; False when it was closed or cancelled meanwhile."""
    now = time.time()
    changes = {"lease_until": now + lease_seconds, "updated_at": now}
    return repository.update_held(tx, job, job.lease_owner or "", changes)


def close_batch(tx: Transaction, job: Job) -> None:
    changes = {"step": _ITEMS, "lease_owner": None, "lease_until": None}
    repository.update_in_state(tx, job.id, [JobState.RUNNING], changes)
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
    changes = {
        "state": JobState.QUEUED.value,
        "attempts": 0,
        "crashes": 0,
        "error": None,
        "run_after": now,
        "updated_at": now,
    }
    if not repository.update_in_state(tx, job_id, _RETRYABLE_BY_HAND, changes):
        raise Conflict(
            f"The job is {job.state}; only failed, dead or cancelled jobs can be retried.",
            hint="See its state.",
        )
    return get(tx, workspace_id, job_id)


def retry_dead(tx: Transaction, workspace_id: str, kind: str | None = None) -> list[Job]:
    """Queue all dead letters of a workspace, or those of a kind, again."""
    return repository.retry_dead(tx, workspace_id, kind, time.time())


def attempts(tx: Transaction, job: Job) -> list[Attempt]:
    """Its attempts that ended badly, the oldest first; those before a retry by hand included."""
    return repository.attempts(tx, job.id)


def cancel(tx: Transaction, workspace_id: str, job_id: str) -> list[Job]:
    """Stop a job, and with a batch the items that are not done yet; they all, the job that was named first."""
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
    children = repository.cancel_children(tx, job_id, time.time())
    if job.parent_id:
        settle_parent(tx, job.parent_id)
    return [get(tx, workspace_id, job_id), *children]


def claim(
    tx: Transaction, lane: Lane, limit: int, *, fresh: bool, owner: str, now: float, lease_seconds: float,
    turns: Mapping[int, str],
) -> list[Job]:  # fmt: skip
    """Lease up to ``limit`` jobs that are due: fresh ones, or such as have been tried before; in the order to serve.

    The more urgent come first. Within a priority workspaces take turns, each with an equal share, so that one's import
    holds nobody up; ``turns`` names the workspace that was served last in a priority.
    """
    claimed: list[Job] = []
    priority = repository.next_priority(tx, lane, -1, now, fresh=fresh)
    while priority is not None and len(claimed) < limit:
        waiting = _in_turn(tx, lane, priority, turns.get(priority, ""), now, fresh=fresh)
        while len(claimed) < limit and (served := list(islice(waiting, min(limit, _MOST_IN_TURN)))):
            for place, workspace_id in enumerate(served):
                share = -(-(limit - len(claimed)) // (len(served) - place))
                claimed += repository.claim(
                    tx, lane, priority, workspace_id, share, fresh=fresh, owner=owner, now=now,
                    lease_seconds=lease_seconds,
                )  # fmt: skip
        if len(claimed) < limit:
            priority = repository.next_priority(tx, lane, priority, now, fresh=fresh)
    return claimed


def claim_alone(tx: Transaction, lane: Lane, *, owner: str, now: float, lease_seconds: float) -> list[Job]:
    """Lease a job that must be the only one of its lane, once no other runs. The transaction must be alone."""
    return repository.claim_needing_all(tx, lane, owner, now, lease_seconds)


def lane_state(tx: Transaction, lane: Lane, now: float) -> LaneState:
    runs, waits = repository.needing_all(tx, lane, now)
    return LaneState.TAKEN if runs else LaneState.RESERVED if waits else LaneState.FREE


def _in_turn(tx: Transaction, lane: Lane, priority: int, last: str, now: float, *, fresh: bool) -> Iterator[str]:
    """Workspaces with jobs that are due: those after ``last``, then from the beginning up to it."""
    after, wrapped = last, False
    while True:
        found = repository.next_workspace(tx, lane, priority, after, now, fresh=fresh)
        if found is None:
            return
        if found <= after:  # There is none after it, so this is the first of all.
            if wrapped or not last:
                return
            wrapped = True
        if wrapped and found > last:
            return
        yield found
        after = found


def release_expired(tx: Transaction, lane: Lane, now: float) -> None:
    """Take back the jobs of a lane whose holders have not been heard of for the length of a lease."""
    for job in repository.expired(tx, lane, now):
        _release(tx, job, now)


def _release(tx: Transaction, job: Job, now: float) -> None:
    if job.step == _ACCEPTING:  # Whoever took its items in is gone; what was taken in stands.
        close_batch(tx, job)
        return
    changes = {
        "state": JobState.QUEUED.value,
        "crashes": job.crashes + 1,
        "run_after": now,
        "updated_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
    repository.update_in_state(tx, job.id, [JobState.RUNNING], changes)
    problem = WorkerLost(
        "The worker ended, or was not heard of for too long, before it said what became of the job.",
        hint="Look at the log of that time.",
    ).problem()
    repository.insert_attempt(tx, job, Outcome.LOST, problem, now)
    metrics.JOBS_ENDED.labels(job.kind, Outcome.LOST).inc()


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
    changes = {"updated_at": time.time(), **({"attempts": 0, "crashes": 0} if progressed else {})}
    return repository.update_held(tx, job, owner, changes)


def hand_over(tx: Transaction, job: Job, owner: str, lane: Lane, step: str) -> bool:
    """Queue the job's next step. What came before has worked, so attempts are counted afresh."""
    now = time.time()
    changes = {
        "state": JobState.QUEUED.value,
        "lane": lane.value,
        "step": step,
        "attempts": 0,
        "crashes": 0,
        "run_after": now,
        "updated_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
    return repository.update_held(tx, job, owner, changes)


def await_items(tx: Transaction, job: Job, owner: str) -> None:
    """The job's own work is done; from here it stands for the items that it made."""
    changes = {"step": _ITEMS, "lease_owner": None, "lease_until": None, "updated_at": time.time()}
    if repository.update_held(tx, job, owner, changes):
        settle_parent(tx, job.id)


def succeed(tx: Transaction, job: Job, owner: str, result: Mapping[str, Any]) -> bool:
    return _finish(tx, job, owner, JobState.SUCCEEDED, result=json.dumps(result), step="done")


def fail(
    tx: Transaction, job: Job, owner: str, error: PegasusError, max_attempts: int, outcome: Outcome = Outcome.FAILED,
    patience_seconds: float = policy.PATIENCE_SECONDS,
) -> JobState | None:  # fmt: skip
    """Settle a failed attempt: again later if that may help and attempts or patience are left, else failed or dead.

    None when the job is no longer the caller's, whose failure then means nothing.
    """
    now, problem, attempts = time.time(), error.problem(), job.attempts
    if policy.is_patient(error) and job.kind != "source":
        since = _away_since(tx, job, now)
        problem["since"] = moment(since).isoformat()
        spent, wait_seconds = now - since >= patience_seconds, policy.patient_wait_seconds(now - since)
        # Not below one, which would make it a job that never ran and need not wait.
        attempts = max(1, attempts - 1)
    else:
        spent = policy.is_spent(error, attempts, max_attempts)
        wait_seconds = policy.wait_seconds(error, attempts)
    if spent:
        state = JobState.DEAD if error.retryable else JobState.FAILED
        held = _finish(tx, job, owner, state, error=json.dumps(problem))
    else:
        state = JobState.QUEUED
        changes = {
            "state": state.value,
            "attempts": attempts,
            "error": json.dumps(problem),
            "run_after": now + wait_seconds,
            "updated_at": now,
            "lease_owner": None,
            "lease_until": None,
        }
        held = repository.update_held(tx, job, owner, changes)
    if not held:
        return None
    if state is JobState.QUEUED:
        metrics.JOBS_ENDED.labels(job.kind, "retried").inc()
    repository.insert_attempt(tx, job, outcome, problem, now)
    return state


def _away_since(tx: Transaction, job: Job, now: float) -> float:
    """Since when the step waits for a store: as its last attempt said, if there was one and it got nowhere."""
    row = repository.get(tx, job.id)
    since = (row.error or {}).get("since") if row and row.attempts > 1 else None
    return min(now, datetime.fromisoformat(since).timestamp()) if since else now


def hand_back(tx: Transaction, job: Job, owner: str) -> bool:
    """Queue a job again whose worker has to end, for others to start at once; the attempt does not count."""
    now = time.time()
    changes = {
        "state": JobState.QUEUED.value,
        "attempts": max(0, job.attempts - 1),
        "run_after": now,
        "updated_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
    return repository.update_held(tx, job, owner, changes)


def is_spent_by_crashes(job: Job, max_attempts: int) -> bool:
    return policy.is_spent(WorkerLost(""), job.crashes, max_attempts)


def bury(tx: Transaction, job: Job, owner: str) -> PegasusError | None:
    """End a job that was claimed once more although its attempts have all ended their workers; the error that says so.

    None when the job is no longer the caller's.
    """
    error = WorkerLost(
        f"The job was started {job.crashes} times and each time its worker ended without an answer.",
        hint="Its input may crash the reader; look at the logs, then retry or erase the document.",
    )
    changes = {"error": json.dumps(error.problem()), "attempts": job.attempts - 1}
    return error if _finish(tx, job, owner, JobState.DEAD, **changes) else None


def _finish(tx: Transaction, job: Job, owner: str, state: JobState, **changes: Any) -> bool:
    base = {"state": state.value, "lease_owner": None, "lease_until": None, "updated_at": time.time()}
    if not repository.update_held(tx, job, owner, {"error": None, **base, **changes}):
        return False
    metrics.JOBS_ENDED.labels(job.kind, state).inc()
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
    if parent is None or parent.step != _ITEMS or repository.has_unfinished_child(tx, parent_id):
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
    now = time.time()
    held = repository.leased(tx)
    for job in held:
        _release(tx, job, now)
    tidy(tx, now)
    return len([job for job in held if job.step != _ACCEPTING])


def tidy(tx: Transaction, now: float, lease_seconds: float = _BATCH_LEASE_SECONDS) -> int:
    """Put right what no claim would: see below. How many jobs it was.

    A parent whose last item ended without settling it; a job that runs and that nobody holds; a time that lies too far
    ahead, because the clock was set back since.
    """
    mended = 0
    for job in repository.unleased(tx):
        if job.kind not in _PARENTS:
            _release(tx, job, now)
        elif job.step != _ITEMS:  # As versions before the leases of batches left them.
            close_batch(tx, job)
        else:
            settle_parent(tx, job.id)
        after = repository.get(tx, job.id)
        mended += after is not None and after.state is not JobState.RUNNING
    return mended + repository.mend_times(tx, now, policy.LONGEST_WAIT_SECONDS + 1, lease_seconds)


def delete_finished(tx: Transaction, before: float) -> int:
    """Delete some jobs that ended before a time; 0 when there are no more. Dead letters and erasures are kept."""
    return repository.delete_finished(tx, first_id_at(before), before, _DELETED_AT_ONCE)


def count_claimable(tx: Transaction, lane: Lane, now: float, most: int) -> int:
    """How many jobs of a lane some worker could take now, counted up to ``most``."""
    return repository.count_claimable(tx, lane, now, most)


def count_due(tx: Transaction, now: float) -> dict[Lane, int]:
    """How many jobs of each lane of the installation wait for nothing but a worker."""
    found = repository.count_due(tx, now)
    return {lane: found.get(lane, 0) for lane in Lane}


def queue_lengths(tx: Transaction, now: float) -> list[tuple[str, str, int, float]]:
    """(lane, state, jobs, age of the oldest in seconds) of the whole installation."""
    rows = repository.queue_lengths(tx)
    return [(row["lane"], row["state"], row["jobs"], max(0.0, now - (row["since"] or now))) for row in rows]


def count_dead(tx: Transaction) -> int:
    return repository.count_dead(tx)


def count_by_state(tx: Transaction, workspace_id: str) -> dict[JobState, int]:
    return repository.count_by_state(tx, workspace_id)


def oldest_waiting_seconds(tx: Transaction, workspace_id: str) -> float | None:
    """The age of the oldest queued job of a workspace; None when none is."""
    since = repository.waiting_since(tx, workspace_id)
    return None if since is None else max(0.0, time.time() - since)
