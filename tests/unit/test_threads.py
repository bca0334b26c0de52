"""Calls on threads: results, errors and context come back; who is cancelled does not wait."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from pegasus.threads import Threads

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
