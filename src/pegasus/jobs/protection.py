"""Keeps whoever scales the workers from ending one in the midst of a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from pegasus.errors import PegasusError
from pegasus.ports import ScaleInProtection

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.2
# Long enough that a request may fail twice; short enough that what a killed worker asked for ends soon.
_MINUTES, _RENEW_SECONDS = 10, 240.0
# Between two jobs of an import it is not given up and asked for again: such requests are rationed.
_QUIET_SECONDS = 10.0
_RETRY_SECONDS = 5.0


@contextmanager
def protecting(protection: ScaleInProtection, is_busy: Callable[[], bool]) -> Iterator[None]:
    """For the length of the block: protected while there is work in hand, and no longer. A job never waits for it."""
    stopping = threading.Event()
    thread = threading.Thread(target=_watch, args=(protection, is_busy, stopping), name="protection", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_RETRY_SECONDS)


def _watch(protection: ScaleInProtection, is_busy: Callable[[], bool], stopping: threading.Event) -> None:
    asked_at: float | None = None  # When protection was last asked for; None: there is none.
    busy_at = retry_at = 0.0
    while not stopping.wait(_LOOK_SECONDS):
        now = time.monotonic()
        if is_busy():
            busy_at = now
        wanted = now - busy_at < _QUIET_SECONDS and busy_at > 0
        due = (asked_at is None or now - asked_at > _RENEW_SECONDS) if wanted else asked_at is not None
        if not due or now < retry_at:
            continue
        try:
            if wanted:
                protection.protect(_MINUTES)
            else:
                protection.release()
            asked_at = now if wanted else None
        except PegasusError as error:
            log.warning("jobs.not_protected", detail=error.detail)
            retry_at = now + _RETRY_SECONDS
