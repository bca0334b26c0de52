"""Queues the runs of sources whose time has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from pegasus.domain import Lane
from pegasus.errors import PegasusError
from pegasus.ports import JobSignal, RelationalStore
from pegasus.sources import service

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0


@contextmanager
def scheduling(relational: RelationalStore, signal: JobSignal, beat: Callable[[], None]) -> Iterator[None]:
    """For the length of the block, on a thread of its own, which calls ``beat`` at each look."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(_LOOK_SECONDS):
            beat()
            try:
                start_due(relational, signal)
            except PegasusError as error:  # The next look may fare better.
                log.warning("sources.schedule_interrupted", detail=error.detail)
            except Exception:  # Nor must what nobody expected be the last look.
                log.exception("sources.schedule_interrupted")

    thread = threading.Thread(target=work, name="scheduler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def start_due(relational: RelationalStore, signal: JobSignal) -> int:
    """Queue what is due now; how many runs that were."""
    with relational.read() as tx:
        if not service.has_due(tx, time.time()):
            return 0
    with relational.write() as tx:
        started = service.start_due(tx, time.time())
    signal.notify(Lane.FETCH)
    return started
