"""Goes round from time to time and puts right what nobody else would: jobs left behind, rows past their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from pegasus.errors import PegasusError
from pegasus.ports import RelationalStore, Transaction

log = structlog.get_logger(__name__)

# A chore that finds something is done again at once, but not so often that others wait for the store.
_MOST_REPEATS = 50


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do each ``period_seconds``; it tells how much it did, and is done again until that is nothing."""

    name: str
    period_seconds: float
    act: Callable[[RelationalStore], int]


def in_transaction(act: Callable[[Transaction], int]) -> Callable[[RelationalStore], int]:
    def run(relational: RelationalStore) -> int:
        with relational.write() as tx:
            return act(tx)

    return run


class Reaper:
    """A thread that does each chore at the start and then when it is due."""

    def __init__(self, relational: RelationalStore, chores: Sequence[Chore], beat: Callable[[], None]) -> None:
        """``beat`` is called before each chore."""
        self._relational, self._chores, self._beat = relational, chores, beat
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def join(self, timeout_seconds: float) -> bool:
        if self._thread.ident:
            self._thread.join(max(0.0, timeout_seconds))
        return not self._thread.is_alive()

    def run_once(self) -> dict[str, int]:
        """Do every chore now; how much each did."""
        return {chore.name: self._do(chore) for chore in self._chores}

    def _work(self) -> None:
        due = dict.fromkeys(self._chores, 0.0)
        period = min(chore.period_seconds for chore in self._chores)
        while not self._stopping.is_set():
            for chore in self._chores:
                self._beat()
                if time.monotonic() >= due[chore] and not self._stopping.is_set():
                    self._do(chore)
                    due[chore] = time.monotonic() + chore.period_seconds
            self._stopping.wait(period)

    def _do(self, chore: Chore) -> int:
        done = 0
        try:
            for _ in range(_MOST_REPEATS):
                found = chore.act(self._relational)
                done += found
                if not found or self._stopping.is_set():
                    break
        except PegasusError as error:  # As on a full disk; it is done the next time.
            log.warning("jobs.chore_failed", chore=chore.name, detail=error.detail)
        except Exception:
            log.exception("jobs.chore_failed", chore=chore.name)
        if done:
            log.info("jobs.reaped", chore=chore.name, done=done)
        return done
