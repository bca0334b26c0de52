"""Calls that are waited for only so long: a store that hangs must hold up neither who asks it nor the process's end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from pegasus.errors import TimedOut

P = ParamSpec("P")
T = TypeVar("T")

_CLOSE_SECONDS = 1.0
# Load balancers wait for five seconds, if nobody tells them otherwise.
_CHECK_SECONDS, _CHECK_HINT = 3.0, "It hangs, or is very slow: look at its server."


class LimitedCalls:
    """A few daemon threads that make calls. A thread whose call hangs is lost until it comes back; nobody joins it.

    ``concurrent.futures`` has no such pool: the end of the process waits for its threads.
    """

    def __init__(self, name: str, threads: int, timeout_seconds: float, hint: str) -> None:
        self._timeout_seconds, self._hint = timeout_seconds, hint
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._busy_since: list[float | None] = [None] * threads
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a call to a thread. Raises ``TimedOut`` at once when every thread hangs."""
        self.check()
        future: Future[T] = Future()
        # In the caller's context: what is logged and traced there is of its request.
        self._calls.put((future, partial(copy_context().run, call, *args, **kwargs)))
        return future

    def result(self, future: Future[T], within_seconds: float | None = None) -> T:
        """What the call returned, or raised. Raises ``TimedOut`` when that takes too long."""
        seconds = within_seconds or self._timeout_seconds
        try:
            return future.result(seconds)
        except TimeoutError as error:
            if future.done():  # The call itself raised it.
                raise
            future.cancel()
            raise TimedOut(f"There was no answer within {seconds:g} seconds.", hint=self._hint) from error

    def all_hang(self) -> bool:
        now = time.monotonic()
        return all(since is not None and now - since >= self._timeout_seconds for since in self._busy_since)

    def check(self) -> None:
        """Raises ``TimedOut`` when every thread hangs."""
        if self.all_hang():
            raise TimedOut("Earlier calls have not come back, and there is room for no more.", hint=self._hint)

    def close(self) -> None:
        """Let the threads end; one that hangs is left behind."""
        for _ in self._threads:
            self._calls.put(None)
        until = time.monotonic() + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, number: int) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                self._busy_since[number] = time.monotonic()
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - whoever waits for the result gets it.
                    future.set_exception(error)
                finally:
                    self._busy_since[number] = None
            del item, future, call  # Else an idle thread keeps the last result alive.


class TimedChecks(Mapping[str, Callable[[], None]]):
    """Checks that each end in time, with ``TimedOut`` if need be: one hanging dependency must not keep whoever asks
    from what the others say."""

    def __init__(self, checks: Mapping[str, Callable[[], None]]) -> None:
        self._checks = checks
        self._calls = {name: LimitedCalls(f"check-{name}", 1, _CHECK_SECONDS, _CHECK_HINT) for name in checks}

    def __getitem__(self, name: str) -> Callable[[], None]:
        calls, check = self._calls[name], self._checks[name]
        return lambda: calls.result(calls.start(check))

    def __iter__(self) -> Iterator[str]:
        return iter(self._checks)

    def __len__(self) -> int:
        return len(self._checks)

    def close(self) -> None:
        for calls in self._calls.values():
            calls.close()
