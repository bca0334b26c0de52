"""A bench for jobs: a real store, a task that does what a test says, and as many workers as it wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pegasus.access import service as access
from pegasus.domain import Job, Lane
from pegasus.jobs import service
from pegasus.jobs.runner import InProcessSignal, LaneSettings, LaneWorker
from pegasus.ports import RelationalStore, Transaction

MAX_ATTEMPTS = 3


class Probe:
    """A task that does what the test says, and remembers what was asked of it."""

    def __init__(self, store: RelationalStore) -> None:
        self._store = store
        self.runs: list[list[str]] = []
        self.given_up: list[tuple[str, str]] = []
        self.do: Callable[[Sequence[Job], str], None] = self.succeed

    def run(self, jobs: Sequence[Job], owner: str) -> None:
        self.runs.append([job.id for job in jobs])
        self.do(jobs, owner)

    def succeed(self, jobs: Sequence[Job], owner: str) -> None:
        with self._store.write() as tx:
            for job in jobs:
                service.succeed(tx, job, owner, {"by": owner})

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        self.given_up.append((job.id, problem["detail"]))


class Bench:
    """A store with one workspace, a task and as many workers as the test wants."""

    def __init__(self, store: RelationalStore) -> None:
        self.store, self.task = store, Probe(store)
        with store.write() as tx:
            self.workspace_id = access.create_workspace(tx, "test")

    def worker(
        self, lane: Lane = Lane.READ, lease_seconds: float = 60, step_seconds: float = 600,
        patience_seconds: float = 86_400,
    ) -> LaneWorker:  # fmt: skip
        tasks = dict.fromkeys(("probe", "erase", "source"), self.task)
        settings = LaneSettings(MAX_ATTEMPTS, lease_seconds, step_seconds, patience_seconds)
        return LaneWorker(lane, self.store, tasks, InProcessSignal(), settings, lambda: None)

    def enqueue(
        self, lane: Lane = Lane.READ, *, kind: str = "probe", workspace_id: str | None = None, **more: Any
    ) -> str:
        with self.store.write() as tx:
            return service.enqueue(tx, workspace_id or self.workspace_id, kind, lane, "step", **more).id

    def workspace(self) -> str:
        with self.store.write() as tx:
            return access.create_workspace(tx, "another")

    def get(self, job_id: str) -> Job:
        with self.store.read() as tx:
            return service.get(tx, self.workspace_id, job_id)

    def state(self, job_id: str) -> str:
        return self.get(job_id).state.value

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self.store.write() as tx:
            return function(tx, *arguments)

    def claim(self, owner: str, lane: Lane = Lane.READ, limit: int = 10, lease_seconds: float = 60) -> list[str]:
        return [job.id for job in self.claim_jobs(owner, lane, limit, lease_seconds)]

    def claim_jobs(
        self, owner: str, lane: Lane = Lane.READ, limit: int = 10, lease_seconds: float = 60, *, fresh: bool = True
    ) -> list[Job]:
        with self.store.write() as tx:
            service.release_expired(tx, lane, time.time())
            return service.claim(
                tx, lane, limit, fresh=fresh, owner=owner, now=time.time(), lease_seconds=lease_seconds, turns={}
            )

    def make_due(self) -> None:
        with self.store.write() as tx:
            tx.execute("UPDATE jobs SET run_after = 0 WHERE state = 'queued'")

    def expire_leases(self) -> None:
        with self.store.write() as tx:
            tx.execute("UPDATE jobs SET lease_until = 1 WHERE lease_until IS NOT NULL")

    def history(self, job_id: str) -> list[tuple[str, str]]:
        """(outcome, type of the error) of the attempts that ended badly."""
        with self.store.read() as tx:
            found = service.attempts(tx, service.get(tx, self.workspace_id, job_id))
        return [(one.outcome.value, one.error["type"].rpartition(":")[2]) for one in found]

    def run_all(self, worker: LaneWorker) -> None:
        for _ in range(200):
            self.make_due()
            if not worker.run_once():
                return
        raise AssertionError("the worker never ran out of work")


def raising(error: Exception) -> Callable[[Sequence[Job], str], None]:
    def run(jobs: Sequence[Job], owner: str) -> None:
        raise error

    return run
