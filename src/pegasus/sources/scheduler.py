"""Queues the runs of sources whose time has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pegasus.domain import Lane
from pegasus.ports import JobSignal, RelationalStore
from pegasus.sources import service
from pegasus.threads import repeating

_LOOK_SECONDS = 1.0


@contextmanager
def scheduling(relational: RelationalStore, signal: JobSignal, beat: Callable[[], None]) -> Iterator[None]:
    """For the length of the block, on a thread of its own, which calls ``beat`` at each look."""
    with repeating("scheduler", lambda: start_due(relational, signal), _LOOK_SECONDS, beat):
        yield


def start_due(relational: RelationalStore, signal: JobSignal) -> int:
    """Queue what is due now; how many runs that were."""
    with relational.read() as tx:
        if not service.has_due(tx, time.time()):
            return 0
    with relational.write() as tx:
        started = service.start_due(tx, time.time())
    signal.notify(Lane.FETCH)
    return started
