"""Tells workers in other processes that there is work: at once when it was committed, and again until somebody has it.

The outbox is the rows of jobs themselves. A job that is due and that nobody works on is its own proof that a message is
missing, whether it was never sent, was lost with the broker, or fell due only now: so nothing has to be remembered of
messages, and none can be forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from pegasus.domain import JobState, Lane
from pegasus.errors import PegasusError
from pegasus.jobs import service
from pegasus.ports import JobQueue, RelationalStore
from pegasus.threads import repeating

log = structlog.get_logger(__name__)

# How late a job is whose message was lost, or a retry that falls due.
_LOOK_SECONDS = 0.5
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.2, 5.0
# The first message goes at once, and those that come right after it together: whom it woke goes on by itself.
_PAUSE_SECONDS = 0.01
_MEASURE_SECONDS = 60.0
# Workers that one look wakes in a lane; each goes on by itself for as long as something is due.
_MOST_WOKEN = 16
_LAST_WORDS_SECONDS = 2.0


class Dispatcher:
    """A signal to other processes. Whoever gives it goes on at once: a thread says what is to be said, for as long as
    that takes, and has no more to remember than one word a lane."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._pending: dict[str, None] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    def notify(self, lane: str) -> None:
        with self._changed:
            self._pending[lane] = None
            self._changed.notify()

    def notify_all(self) -> None:
        for lane in Lane:
            self.notify(lane)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work, name="dispatcher", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            with self._changed:
                self._changed.notify()
            thread.join(_LAST_WORDS_SECONDS)

    def _work(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while lane := self._next():
            try:
                self._queue.publish(lane)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next message must not wait for a restart.
                log.warning("jobs.not_published", lane=lane, detail=_said(error), next_seconds=wait)
                self.notify(lane)
                if self._stopping.wait(wait):
                    return  # The scheduler sees the job in its row.
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            else:
                wait = _FIRST_WAIT_SECONDS
                self._stopping.wait(_PAUSE_SECONDS)

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._stopping.is_set())
            lane = next(iter(self._pending), None)
            self._pending.pop(lane or "", None)
            return lane


@contextmanager
def publishing_what_is_due(relational: RelationalStore, queue: JobQueue, beat: Callable[[], None]) -> Iterator[None]:
    """For the length of the block see to it that there are messages while jobs are due, and tell the log how much
    waits; ``beat`` is called at each look. Several processes may do so."""
    with (
        repeating("outbox", lambda: publish_due(relational, queue), _LOOK_SECONDS, beat),
        repeating("queue measure", lambda: measure(relational), _MEASURE_SECONDS),
    ):
        yield


def publish_due(relational: RelationalStore, queue: JobQueue) -> int:
    """Publish as many messages as are missing for what is due; how many that were."""
    with relational.read() as tx:
        due = {lane: n for lane in Lane if (n := service.count_claimable(tx, lane, time.time(), _MOST_WOKEN))}
    if not due:
        return 0
    lengths = queue.lengths(list(due))
    missing = [lane for lane, n in due.items() for _ in range(n - lengths[lane].waiting)]
    for lane in missing:
        queue.publish(lane)
    return len(missing)


def measure(relational: RelationalStore) -> None:
    """Log how many jobs wait for nothing but a worker, and the longest wait, in seconds: where nobody reads /metrics,
    workers are scaled by that."""
    with relational.read() as tx:
        lengths = service.queue_lengths(tx, time.time())
    waiting = [(number, seconds) for _, state, number, seconds in lengths if state == JobState.QUEUED]
    log.info(
        "queue.measured",
        waiting=sum(number for number, _ in waiting),
        oldest_seconds=round(max((seconds for _, seconds in waiting), default=0.0), 1),
    )


def _said(error: Exception) -> str:
    return error.detail if isinstance(error, PegasusError) else repr(error)
