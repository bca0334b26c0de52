"""``kill -9`` of any process at any moment, over and over: whatever was accepted is there, once, in every store.

``make test`` takes few kills, ``make kills KILLS=1000`` so many. A run names its seed; KILLS_SEED makes the same steps
and the same kills again, as far as the moments of a computer can be had twice.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inspection import check_running, check_stopped
from killer import Killer
from ledger import Ledger
from origins import web_site
from workload import Folder, Line, Pages, Worker

# What is killed, as a deck of cards: "start" is the server while it recovers from the kill before, and counts twice.
_DECK = ["server"] * 5 + ["start"] + ["command"] * 4 + ["reader"] * 2
KILLS = int(os.environ.get("KILLS", 0)) or len(_DECK) + 1
SEED = int(os.environ.get("KILLS_SEED", 0)) or 1 + secrets.randbelow(2**31)
# So often everything is looked at.
_INSPECTED_EVERY = 25


class Run:
    """One directory, one server at a time, one client; and what was accepted so far."""

    def __init__(self, folder: Path, line: Line, files: Folder, pages: Pages) -> None:
        chance = random.Random(SEED)
        self.line, self.ledger, self.files, self.pages = line, Ledger(), files, pages
        self.killer = Killer(folder, random.Random(chance.random()), line, self.ledger)
        self.worker = Worker(line, self.ledger, random.Random(chance.random()), files, pages)
        self._chance, self._begun, self._inspected = chance, time.monotonic(), 0.0

    def kill(self, kills: int) -> None:
        deck: list[str] = []
        until = self.killer.killed.total() + kills
        while self.killer.killed.total() < until:
            if not deck:
                deck = self._chance.sample(_DECK, len(_DECK))
            self.killer.kill_one(deck.pop())
            if self.worker.error:
                raise self.worker.error

    def inspect(self) -> None:
        begun, data = time.monotonic(), self.killer.server.data
        self.killer.settle()
        with self.worker.resting():
            if self.worker.error:
                raise self.worker.error
            check_running(self.line, data, self.ledger, self.worker.sources, self.files, self.pages)
            self.killer.stop()
            check_stopped(data, self.ledger)
            self.killer.check_archives()
            self.killer.start()
        self._inspected += time.monotonic() - begun

    def told(self) -> str:
        """Where it is: how many were killed, what they were, and what they were doing."""
        kills, seconds = self.killer.killed.total(), time.monotonic() - self._begun
        size = sum(file.stat().st_size for file in self.killer.server.data.rglob("*") if file.is_file())
        return (
            f"{kills}/{KILLS} kills in {seconds:.0f} s ({self._inspected:.0f} of them looking),"
            f" {self.worker.taken} steps, {len(self.ledger.live)} documents, {size / 2**20:.0f} MiB."
            f" Killed: {dict(self.killer.killed)}. At work on: {dict(self.killer.struck)}"
        )


@contextmanager
def running(folder: Path) -> Iterator[Run]:
    with web_site() as site:
        run = Run(folder, Line(), Folder(folder / "folder"), Pages(site))
        try:
            run.killer.start()
            run.worker.start()
            yield run
        finally:
            run.worker.stop()
            run.killer.end_all()
            print(run.killer.server.log[-3000:])


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * KILLS)
def test_no_kill_loses_doubles_or_leaves_anything(tmp_path: Path) -> None:
    print(f"\nKILLS_SEED={SEED}", flush=True)
    with running(tmp_path) as run:
        while (left := KILLS - run.killer.killed.total()) > 0:
            run.kill(min(left, _INSPECTED_EVERY))
            run.inspect()
            print(run.told(), flush=True)
