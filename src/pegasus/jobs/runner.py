"""Runs jobs in this process: for each lane a thread that works, and one that keeps its leases and watches over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from pegasus.domain import Lane
from pegasus.errors import Unavailable
from pegasus.jobs.worker import LaneSettings, Task, Worker
from pegasus.ports import RelationalStore

__all__ = ["InProcessSignal", "LaneSettings", "LaneWorker", "Task"]

log = structlog.get_logger(__name__)

# A signal makes a worker start at once; this is only how late it is when a signal was lost or a retry falls due.
_POLL_SECONDS = 0.5
# Python cannot end a thread that hangs, only leave it behind; beyond so many in a lane nothing but a restart helps.
_MOST_STUCK = 2
_WATCHER_SECONDS = 1.0


class InProcessSignal:
    """Wakes the workers of this process: with each signal one, of so many as a lane has."""

    def __init__(self, slots: Mapping[Lane, int] = {}, poll_seconds: float | None = _POLL_SECONDS) -> None:
        """``poll_seconds``: None where somebody else sees to it that no signal is lost for good."""
        self._most = {lane.value: slots.get(lane, 1) for lane in Lane}
        self._given = dict.fromkeys(self._most, 0)
        self._poll_seconds = poll_seconds
        self._changed = threading.Condition()

    def notify(self, lane: str) -> None:
        with self._changed:
            self._given[lane] = min(self._given[lane] + 1, self._most[lane])
            self._changed.notify_all()

    def notify_all(self) -> None:
        for lane in Lane:
            self.notify(lane)

    def wait(self, lane: str, stopping: threading.Event) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._given[lane] or stopping.is_set(), self._poll_seconds)
            self._given[lane] = max(0, self._given[lane] - 1)


class LaneWorker:
    """Runs the jobs of one lane. A worker that is stuck is left behind and another takes its place, up to a limit."""

    def __init__(
        self, lane: Lane, relational: RelationalStore, tasks: Mapping[str, Task], signal: InProcessSignal,
        settings: LaneSettings, when_idle: Callable[[], None],
    ) -> None:  # fmt: skip
        """``when_idle`` is called each time that the lane has run out of work."""
        self.lane = lane
        self._signal, self._settings, self._when_idle = signal, settings, when_idle
        self._new_worker = partial(Worker, lane, relational, tasks, settings)
        self._worker = self._new_worker()
        self._thread: threading.Thread | None = None
        self._stuck: list[threading.Thread] = []
        self._stopping, self._left = threading.Event(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"{lane.value}-watcher", daemon=True)

    @property
    def owner(self) -> str:
        return self._worker.owner

    def start(self) -> None:
        self._start_worker()
        self._watcher.start()

    def ask_to_stop(self) -> None:
        """Claim nothing more; the batch in hand is finished."""
        self._stopping.set()
        self._signal.notify_all()

    def join(self, timeout_seconds: float) -> bool:
        """Whether the batch in hand was finished in time; if not, its jobs are queued again at the next start, or as
        soon as they are handed back."""
        if self._thread and self._thread.ident:
            self._thread.join(max(0.0, timeout_seconds))
        if not self.alive:
            self.leave()
        return not self.alive

    def hand_back(self) -> int:
        """Give up what is in hand for others to do; how many jobs that were."""
        return self._worker.hand_back()

    def leave(self) -> None:
        """Watch over it no longer, whether it has ended or not."""
        self._left.set()
        if self._watcher.ident:
            self._watcher.join(_WATCHER_SECONDS)

    @property
    def is_busy(self) -> bool:
        return self._worker.is_busy

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def stuck(self) -> int:
        """How many workers of the lane hang in a step."""
        return sum(thread.is_alive() for thread in self._stuck)

    def run_once(self) -> bool:
        """Claim and run one batch of jobs of one kind; False when none was due."""
        return self._worker.run_once()

    def _start_worker(self) -> None:
        self._thread = threading.Thread(
            target=self._work, args=(self._worker,), name=f"{self.lane.value}-worker", daemon=True
        )
        self._thread.start()

    def _work(self, worker: Worker) -> None:
        worked = False
        while not (self._stopping.is_set() or worker.given_up.is_set()):
            had_worked = worked
            try:
                worked = worker.run_once()
            except Exception as error:  # noqa: BLE001 - the jobs are safe in their rows; a worker that ends helps nobody.
                log.warning("jobs.lane_interrupted", lane=self.lane.value, error=repr(error))
                worked = False
                self._stopping.wait(_POLL_SECONDS)
            if not worked:
                if had_worked:
                    self._when_idle()
                self._signal.wait(self.lane.value, self._stopping)

    def _watch(self) -> None:
        # Also while it stops: what is still being finished must not be taken for lost.
        while not self._left.wait(min(self._settings.lease_seconds / 3, self._settings.step_seconds / 3)):
            try:
                self._worker.keep_leases()
                if self._worker.is_stuck and not self._worker.given_up.is_set():
                    log.error("jobs.worker_stuck", lane=self.lane.value, owner=self._worker.owner)
                    self._worker.give_up()
            except Unavailable as error:  # Two more chances before the leases end.
                log.warning("jobs.heartbeat_failed", lane=self.lane.value, detail=error.detail)
            if self._worker.given_up.is_set() and not self._stopping.is_set():
                self._replace_worker()

    def _replace_worker(self) -> None:
        """Leave the stuck worker behind, unless too many hang already; then the lane waits for one of them."""
        if self._thread and self._thread not in self._stuck:
            self._stuck.append(self._thread)
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if len(self._stuck) <= _MOST_STUCK:
            self._worker = self._new_worker()
            self._start_worker()
