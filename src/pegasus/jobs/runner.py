"""Runs jobs in this process: a thread for each lane that claims, heartbeats, runs and settles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from pegasus.domain import Job, JobState, Lane
from pegasus.errors import PegasusError, Unavailable
from pegasus.identifiers import new_id
from pegasus.jobs import repository, service
from pegasus.ports import RelationalStore, Transaction

log = structlog.get_logger(__name__)

# A signal makes a worker start at once; this is only how late it is when a signal was lost or a retry falls due.
_POLL_SECONDS = 0.5
_BATCH = 128


class Task(Protocol):
    """What a kind of job does. ``run`` settles each of its jobs, or raises; both may happen more than once."""

    def run(self, jobs: Sequence[Job], owner: str) -> None: ...

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """The job has failed for good; in the transaction that records it."""
        ...


@dataclass(frozen=True, slots=True)
class LaneSettings:
    max_attempts: int
    lease_seconds: float


class InProcessSignal:
    """Wakes the workers of this process."""

    def __init__(self) -> None:
        self._events = {lane.value: threading.Event() for lane in Lane}

    def notify(self, lane: str) -> None:
        self._events[lane].set()

    def notify_all(self) -> None:
        for event in self._events.values():
            event.set()

    def wait(self, lane: str) -> None:
        self._events[lane].wait(_POLL_SECONDS)
        self._events[lane].clear()


class LaneWorker:
    """One thread that runs the jobs of one lane, and one that keeps their leases."""

    def __init__(
        self, lane: Lane, relational: RelationalStore, tasks: Mapping[str, Task], signal: InProcessSignal,
        settings: LaneSettings, when_idle: Callable[[], None],
    ) -> None:  # fmt: skip
        """``when_idle`` is called each time that the lane has run out of work."""
        self._lane, self._relational, self._tasks = lane, relational, tasks
        self._signal, self._settings, self._when_idle = signal, settings, when_idle
        self.owner = f"{lane.value}-{new_id()}"
        self._held: dict[str, Job] = {}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"{lane.value}-{name}", daemon=True)
            for name, target in (("worker", self._work), ("heartbeat", self._heartbeat))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Claim nothing more; the batch in hand is finished."""
        self._stopping.set()
        self._signal.notify_all()

    def join(self, timeout_seconds: float) -> bool:
        """Whether the batch in hand was finished in time; if not, its jobs are queued again at the next start."""
        until = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not self.alive

    @property
    def alive(self) -> bool:
        return self._threads[0].is_alive()

    def _work(self) -> None:
        worked = False
        while not self._stopping.is_set():
            had_worked = worked
            try:
                worked = self.run_once()
            except Exception as error:  # noqa: BLE001 - the jobs are safe in their rows; a worker that ends helps nobody.
                log.warning("jobs.lane_interrupted", lane=self._lane.value, error=repr(error))
                worked = False
                self._stopping.wait(_POLL_SECONDS)
            if not worked:
                if had_worked:
                    self._when_idle()
                self._signal.wait(self._lane.value)

    def run_once(self) -> bool:
        """Claim and run one batch of jobs of one kind; False when none was due."""
        jobs = self._claim()
        for kind in dict.fromkeys(job.kind for job in jobs):
            self._run([job for job in jobs if job.kind == kind])
        return bool(jobs)

    def _claim(self) -> list[Job]:
        def claim(limit: int, *, fresh: bool) -> list[Job]:
            now, lease = time.time(), self._settings.lease_seconds
            return repository.claim(tx, self._lane, limit, fresh=fresh, owner=self.owner, now=now, lease_seconds=lease)

        limit = _BATCH if self._lane is Lane.INDEX else 1
        with self._relational.read() as tx:
            if not repository.has_due(tx, self._lane, time.time()):
                return []
        with self._relational.write() as tx:
            # A job that failed before runs alone: whatever is wrong with it must not cost others an attempt.
            jobs = claim(1, fresh=False) or claim(limit, fresh=True)
            spent = [job for job in jobs if job.attempts > self._settings.max_attempts]
            for job in spent:
                self._bury(tx, job)
        self._held = {job.id: job for job in jobs if job not in spent}
        return list(self._held.values())

    def _bury(self, tx: Transaction, job: Job) -> None:
        """A job whose attempts all ended without a word, as when they took the process with them."""
        error = Unavailable(
            f"The job was started {job.attempts - 1} times and each time its worker ended without an answer.",
            hint="Its input may crash the reader; look at the logs, then retry or erase the document.",
        )
        self._give_up(tx, job, error)

    def _run(self, jobs: Sequence[Job]) -> None:
        try:
            self._task(jobs[0].kind).run(jobs, self.owner)
        except Exception as error:  # noqa: BLE001 - whatever a job does, the worker goes on, and the job's row says it.
            if len(jobs) > 1:
                log.warning("jobs.batch_failed", jobs=len(jobs), error=repr(error))
                for job in jobs:
                    self._run([job])
                return
            self._failed(jobs[0], error)
        finally:
            for job in jobs:
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
            error = Unavailable(f"An unexpected error: {type(error).__name__}: {error}", hint="See the log.")
        with self._relational.write() as tx:
            self._give_up(tx, job, error)

    def _give_up(self, tx: Transaction, job: Job, error: PegasusError) -> None:
        state = service.fail(tx, job, self.owner, error, self._settings.max_attempts)
        if state in (JobState.FAILED, JobState.DEAD) and job.kind in self._tasks:
            self._tasks[job.kind].gave_up(tx, job, error.problem())
        log.warning("jobs.attempt_failed", job_id=job.id, kind=job.kind, state=state, detail=error.detail)

    def _heartbeat(self) -> None:
        while not self._stopping.wait(self._settings.lease_seconds / 3):
            held = list(self._held)
            if held:
                try:
                    with self._relational.write() as tx:
                        repository.renew(tx, held, self.owner, time.time() + self._settings.lease_seconds)
                except Unavailable as error:  # Two more chances before the lease ends.
                    log.warning("jobs.heartbeat_failed", lane=self._lane.value, detail=error.detail)
