"""Calls on threads: results, errors and context come back; who is cancelled does not wait; what repeats goes on."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest
from structlog.testing import capture_logs

from pegasus import threads as module
from pegasus.errors import Unavailable
from pegasus.threads import Threads, repeating

word: ContextVar[str] = ContextVar("word")


def test_results_errors_and_context_go_through() -> None:
    async def main() -> None:
        threads = Threads(2)
        word.set("said here")
        assert await threads.run(word.get) == "said here"
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)
        with pytest.raises(RuntimeError):
            await threads.run(next, iter(()))
        assert await asyncio.gather(*(threads.run(abs, -n) for n in range(50))) == list(range(50))

    asyncio.run(main())


def test_who_is_cancelled_does_not_wait_and_the_thread_goes_on() -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        assert held.wait(60)
        done.set()

    async def main() -> None:
        threads = Threads(1)
        waiting = asyncio.ensure_future(threads.run(hold))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        held.set()
        assert await threads.run(done.wait, 60)

    asyncio.run(main())


def test_what_repeats_outlives_its_failures_tells_them_and_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AFTER_FAILURE_SECONDS", 0.01)
    outcomes, done = [None, Unavailable("It is away."), ZeroDivisionError("oops"), None], threading.Event()
    doers = set()

    def act() -> None:
        doers.add(threading.current_thread())
        outcome = outcomes.pop(0) if outcomes else done.set()
        if outcome:
            raise outcome

    with capture_logs() as logged, repeating("looking", act, 0.01):
        assert done.wait(30)
    (doer,) = doers
    doer.join(30)
    assert not doer.is_alive()
    assert doer.name == "looking"
    told = [(entry["event"], entry["name"], entry["log_level"], entry.get("detail")) for entry in logged]
    assert told == [
        ("thread.failed", "looking", "warning", "It is away."),
        ("thread.failed", "looking", "error", None),
    ]
