"""Jobs that do nothing, in a process of their own: through Pegasus' rows and Celery, or through Celery alone.

``python -m bench.noop WAY JOBS`` says ``ready`` once it takes jobs and ``done`` when it has had so many, and ends with
its standard input. WAY is ``read`` or ``index``, lanes of Pegasus, or ``celery``. DATABASE_URL and REDIS_URL name the
servers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence

from celery import Celery
from celery.worker import WorkController

from pegasus.adapters.celery_queue import CeleryJobQueue
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.domain import Job, Lane
from pegasus.jobs import service
from pegasus.jobs.runner import InProcessSignal, LaneSettings, LaneWorker
from pegasus.jobs.worker import SHARED_BATCH
from pegasus.ports import RelationalStore
from pegasus.store_urls import RedisAddress

KIND = "nothing"


class _Countdown:
    """Calls are from one thread."""

    def __init__(self, count: int) -> None:
        self._left = count

    def count(self, number: int) -> None:
        self._left -= number
        if self._left == 0:
            print("done", flush=True)


class _Nothing:
    """Settles its jobs as every kind does: those that were claimed together in one transaction."""

    def __init__(self, relational: RelationalStore, count: Callable[[int], None]) -> None:
        self._relational, self._count = relational, count

    def run(self, jobs: Sequence[Job], owner: str) -> None:
        with self._relational.write() as tx:
            for job in jobs:
                service.succeed(tx, job, owner, {})
        self._count(len(jobs))

    def gave_up(self, *_: object) -> None:
        raise RuntimeError("what does nothing cannot fail")


def bare(broker: str) -> Celery:
    """Celery as it is by itself, without results, on a queue of its own."""
    app = Celery("bare", broker=broker, set_as_current=False)
    app.conf.update(task_ignore_result=True, task_default_queue="bare")
    return app


def _through_pegasus(lane: Lane, countdown: _Countdown) -> None:
    relational = PostgresRelationalStore(os.environ["DATABASE_URL"])
    queue = CeleryJobQueue(RedisAddress.parse(os.environ["REDIS_URL"]))
    wakes = InProcessSignal({lane: 1}, None)
    tasks = {KIND: _Nothing(relational, countdown.count)}
    LaneWorker(lane, relational, tasks, wakes, LaneSettings(10, 60, batch=SHARED_BATCH), lambda: None).start()
    with queue.consume([lane], wakes.notify):
        print("ready", flush=True)
        threading.Event().wait()


def _through_celery(countdown: _Countdown) -> None:
    app = bare(os.environ["REDIS_URL"])
    app.set_current()

    @app.task(name=KIND)  # type: ignore[untyped-decorator]
    def nothing() -> None:
        countdown.count(1)

    print("ready", flush=True)
    WorkController(app=app, pool="solo", concurrency=1, without_gossip=True, without_mingle=True).start()


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    _way, _countdown = sys.argv[1], _Countdown(int(sys.argv[2]))
    if _way == "celery":
        _through_celery(_countdown)
    else:
        _through_pegasus(Lane(_way), _countdown)
