"""One worker of a lane: claims jobs, runs them and settles what became of them, under an owner id of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from pegasus import metrics, tracing
from pegasus.domain import Job, JobState, Lane, Outcome
from pegasus.errors import PegasusError, TimedOut, Unavailable, Unexpected
from pegasus.identifiers import new_id
from pegasus.jobs import repository, service
from pegasus.jobs.policy import PATIENCE_SECONDS
from pegasus.jobs.service import LaneState
from pegasus.ports import RelationalStore, Transaction

log = structlog.get_logger(__name__)

# How many jobs a worker indexes together; fewer where there are others, who are idle while it has all of an import.
_BATCH, SHARED_BATCH = 128, 32
# How long a worker that has work goes on without a look at what others have lost.
_LOOK_SECONDS = 1.0


class Task(Protocol):
    """What a kind of job does. ``run`` settles each of its jobs, or raises; both may happen more than once."""

    def run(self, jobs: Sequence[Job], owner: str) -> None: ...

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, object]) -> None:
        """The job has failed for good; in the transaction that records it."""
        ...


@dataclass(frozen=True, slots=True)
class LaneSettings:
    max_attempts: int
    lease_seconds: float
    step_seconds: float = 600.0  # How long a step may show no progress.
    patience_seconds: float = PATIENCE_SECONDS  # How long a store may be away.
    batch: int = _BATCH


class Worker:
    """Its owner id is its right to settle: once it is given up, whatever it still does settles nothing."""

    def __init__(
        self, lane: Lane, relational: RelationalStore, tasks: Mapping[str, Task], settings: LaneSettings
    ) -> None:
        self.owner = f"{lane.value}-{new_id()}"
        self.given_up = threading.Event()
        self._lane, self._relational, self._tasks, self._settings = lane, relational, tasks, settings
        self._held: dict[str, Job] = {}
        self._unsettled: list[tuple[Job, PegasusError]] = []
        self._turns: dict[int, str] = {}
        self._was_retry = False
        self._found, self._look_at = False, 0.0
        self._alive_at: float | None = None  # When the step in hand began or last showed progress; None when idle.
        self._progress = 0.0

    def run_once(self) -> bool:
        """Claim and run one batch of jobs of one kind; False when none was due."""
        self._settle_rest()
        jobs = self._claim()
        for kind in dict.fromkeys(job.kind for job in jobs):
            self._run([job for job in jobs if job.kind == kind])
        return bool(jobs)

    def keep_leases(self) -> None:
        """Prolong the leases of what is in hand, and note whether it shows progress."""
        if self.given_up.is_set() or not self._held:
            return
        with self._relational.write(alone=False) as tx:
            progress = repository.renew(tx, self.owner, time.time() + self._settings.lease_seconds)
        # Compared for a change only: the clock may be set while a step runs.
        if progress != self._progress and self._alive_at is not None:
            self._alive_at = time.monotonic()
        self._progress = progress

    @property
    def is_stuck(self) -> bool:
        """Whether the step in hand has shown no progress for longer than it may."""
        alive_at = self._alive_at
        return alive_at is not None and time.monotonic() - alive_at > self._settings.step_seconds

    @property
    def is_busy(self) -> bool:
        return bool(self._held)

    def hand_back(self) -> int:
        """Give what is in hand to others, as the process ends; how many jobs that were."""
        self.given_up.set()
        held = list(self._held.values())
        with self._relational.write() as tx:
            return sum(service.hand_back(tx, job, self.owner) for job in held)

    def give_up(self) -> None:
        """Take its jobs from a worker that is stuck, for others to try. What they cannot be told now, leases tell."""
        self.given_up.set()
        held = list(self._held.values())
        error = TimedOut(
            f"The step showed no progress for {self._settings.step_seconds:g} seconds and was given up.",
            hint="A store may hang: see /ready and restart Pegasus. The limit is PEGASUS_JOB_STEP_SECONDS.",
        )
        with self._relational.write() as tx:
            for job in held:
                self._settle(tx, job, error, Outcome.STUCK)

    def _claim(self) -> list[Job]:
        # Whoever has just found something most likely finds more, and needs no look before the write that a claim is.
        jobs = self._take() if self._found and time.monotonic() < self._look_at else []
        if not jobs and self._look():
            jobs = self._take()
        self._found = bool(jobs)
        spent = [job for job in jobs if service.is_spent_by_crashes(job, self._settings.max_attempts)]
        if spent:
            with self._relational.write() as tx:
                for job in spent:
                    self._bury(tx, job)
        self._held = {job.id: job for job in jobs if job not in spent}
        return list(self._held.values())

    def _look(self) -> bool:
        """Whether a claim may find something, once what others have lost is taken back."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        with self._relational.read() as tx:
            if not repository.has_due(tx, self._lane, time.time()):
                return False
            expired = bool(repository.expired(tx, self._lane, time.time()))
        if expired:
            with self._relational.write() as tx:
                service.release_expired(tx, self._lane, time.time())
        return True

    def _take(self) -> list[Job]:
        with self._relational.write(alone=False) as tx:
            now = time.time()
            state = service.lane_state(tx, self._lane, now)
            jobs = self._claim_in_turn(tx, now) if state is LaneState.FREE else []
        if state is LaneState.RESERVED:
            with self._relational.write() as tx:
                jobs = service.claim_alone(
                    tx, self._lane, owner=self.owner, now=time.time(), lease_seconds=self._settings.lease_seconds
                )
        return jobs

    def _claim_in_turn(self, tx: Transaction, now: float) -> list[Job]:
        """Retries and fresh jobs by turns, so that neither many failures nor a long import holds up the other."""
        # A job that failed before runs alone: whatever is wrong with it must not cost others an attempt.
        batch = self._settings.batch if self._lane is Lane.INDEX else 1
        for fresh in (True, False) if self._was_retry else (False, True):
            jobs = service.claim(
                tx, self._lane, batch if fresh else 1, fresh=fresh, owner=self.owner, now=now,
                lease_seconds=self._settings.lease_seconds, turns=self._turns,
            )  # fmt: skip
            if jobs:
                self._was_retry = not fresh
                self._turns |= {job.priority: job.workspace_id for job in jobs}
                return jobs
        return []

    def _bury(self, tx: Transaction, job: Job) -> None:
        """A job whose attempts all ended without a word, as when they took the process with them."""
        error = service.bury(tx, job, self.owner)
        if error:
            self._gave_up(tx, job, error)
        log.warning("jobs.buried", job_id=job.id, kind=job.kind, crashes=job.crashes)

    def _run(self, jobs: Sequence[Job]) -> None:
        if self.given_up.is_set():
            return
        first = jobs[0]
        self._alive_at = time.monotonic()
        try:
            with (
                metrics.timed(metrics.STEP_SECONDS.labels(first.kind, first.step)),
                tracing.root(
                    f"job {first.kind} {first.step}", "consumer", [job.traceparent for job in jobs],
                    {"pegasus.job.id": first.id, "pegasus.job.count": len(jobs), "pegasus.job.attempt": first.attempts},
                ),
            ):  # fmt: skip
                self._task(first.kind).run(jobs, self.owner)
        except Exception as error:  # noqa: BLE001 - whatever a job does, the worker goes on, and the job's row says it.
            if len(jobs) > 1:
                log.warning("jobs.batch_failed", jobs=len(jobs), error=repr(error))
                for job in jobs:
                    self._run([job])
                return
            self._failed(first, error)
        finally:
            self._alive_at = None
        unsettled = {job.id for job, _ in self._unsettled}
        for job in jobs:
            if job.id not in unsettled:
                self._held.pop(job.id, None)

    def _task(self, kind: str) -> Task:
        if kind not in self._tasks:
            raise Unavailable(
                f"This version of Pegasus knows no jobs of the kind {kind!r}.",
                hint="Run a newer version.",
            )
        return self._tasks[kind]

    def _failed(self, job: Job, error: Exception) -> None:
        if not isinstance(error, PegasusError):
            log.exception("jobs.unexpected_error", job_id=job.id, kind=job.kind)
            error = Unexpected(f"An unexpected error: {type(error).__name__}: {error}", hint="See the log.")
        try:
            with self._relational.write() as tx:
                self._settle(tx, job, error)
        except Unavailable as unavailable:  # As on a full disk; it stays leased, and is settled as soon as that works.
            log.warning("jobs.unsettled", job_id=job.id, kind=job.kind, detail=unavailable.detail)
            self._unsettled.append((job, error))

    def _settle_rest(self) -> None:
        """Settle what could not be settled before; raises ``Unavailable`` when it still cannot be."""
        while self._unsettled:
            job, error = self._unsettled[-1]
            with self._relational.write() as tx:
                self._settle(tx, job, error)
            self._unsettled.pop()
            self._held.pop(job.id, None)

    def _settle(self, tx: Transaction, job: Job, error: PegasusError, outcome: Outcome = Outcome.FAILED) -> None:
        state = service.fail(
            tx, job, self.owner, error, self._settings.max_attempts, outcome, self._settings.patience_seconds
        )
        if state in (JobState.FAILED, JobState.DEAD):
            self._gave_up(tx, job, error)
        log.warning("jobs.attempt_failed", job_id=job.id, kind=job.kind, state=state, detail=error.detail)

    def _gave_up(self, tx: Transaction, job: Job, error: PegasusError) -> None:
        if job.kind in self._tasks:
            self._tasks[job.kind].gave_up(tx, job, error.problem())
