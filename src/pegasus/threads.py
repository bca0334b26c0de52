"""Threads for what waits, called from an event loop, and for what looks again and again whether there is work.

The first are as ``anyio.to_thread``, at less than half its cost. A request that reads one row is handed to a thread and
back, and that was dearer than the row. What is left here is a queue, and one wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import structlog

from pegasus.errors import PegasusError

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# As many as anyio has: a few that hang, or wait for a store, hold up nobody else.
_THREADS = 40
_AFTER_FAILURE_SECONDS, _LAST_WORDS_SECONDS = 5.0, 5.0


class Threads:
    """Started one by one as they are needed, and kept. The process's end waits for none of them, as one may hang."""

    def __init__(self, most: int = _THREADS) -> None:
        self._most = most
        self._calls: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]] = (
            SimpleQueue()
        )
        self._lock = threading.Lock()
        self._threads = self._busy = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises, in the caller's context. A caller that is cancelled waits for it no
        longer; the function goes on to its end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._busy += 1
            more = self._threads < min(self._busy, self._most)
            self._threads += more
        if more:
            threading.Thread(target=self._work, name=f"call-{self._threads}", daemon=True).start()
        self._calls.put((loop, future, partial(copy_context().run, function, *args, **kwargs)))
        return await future

    def _work(self) -> None:
        while True:
            loop, future, call = self._calls.get()
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - whoever waits for the result gets it.
                error = raised
            with self._lock:
                self._busy -= 1
            with suppress(RuntimeError):  # The loop has been closed, so nobody waits any more.
                loop.call_soon_threadsafe(_settle, future, result, error)
            # Else an idle thread would keep the last result alive.
            del loop, future, call, result, error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # Whoever waited was cancelled.
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # A future takes none; this is what a coroutine would make of it.
        future.set_exception(RuntimeError("the function raised StopIteration"))
    else:
        future.set_exception(error)


# One for the process, as anyio's: its number is what bounds the calls at a time.
on_thread = Threads().run


@contextmanager
def repeating(
    name: str, act: Callable[[], object], every_seconds: float, beat: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """For the length of the block do something at once and then again and again, on a thread of its own, which calls
    ``beat`` before each time. What fails is told in the log, and done again a while later: nobody else does it."""
    stopping = threading.Event()

    def work() -> None:
        wait = 0.0
        while not stopping.wait(wait):
            wait = max(every_seconds, _AFTER_FAILURE_SECONDS)
            beat()
            try:
                act()
            except PegasusError as error:
                log.warning("thread.failed", name=name, detail=error.detail, next_seconds=wait)
            except Exception:
                log.exception("thread.failed", name=name, next_seconds=wait)
            else:
                wait = every_seconds

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_LAST_WORDS_SECONDS)
