"""A thread that hangs or has ended is told from one that goes round."""

from __future__ import annotations

from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from fastapi.testclient import TestClient

from pegasus.api import create_probes
from pegasus.errors import Unavailable
from pegasus.rounds import Rounds
from pegasus.settings import Settings
from pegasus.sources.scheduler import scheduling

if TYPE_CHECKING:
    from pegasus.application import Application
    from pegasus.ports import JobSignal, RelationalStore


def test_only_those_that_are_overdue_are_named(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr("pegasus.rounds.time.monotonic", lambda: now[0])
    rounds = Rounds()
    rounds.check()
    beats = [rounds.beat_of("chores", 60), rounds.beat_of("messages", 10)]

    now[0] += 10
    rounds.check()
    now[0] += 1
    with pytest.raises(Unavailable, match=r"any more: messages\."):
        rounds.check()
    beats[1]()
    rounds.check()
    now[0] += 61
    with pytest.raises(Unavailable, match="chores, messages"):
        rounds.check()


def test_a_look_at_sources_is_not_the_last_one_whatever_it_meets():
    looked = SimpleQueue[None]()

    class Broken:
        def read(self) -> None:
            raise ZeroDivisionError

    with scheduling(cast("RelationalStore", Broken()), cast("JobSignal", None), lambda: looked.put(None)):
        for _ in range(2):
            looked.get(timeout=30)


@pytest.mark.parametrize("name", ["workers", "rounds"])
def test_a_process_whose_threads_hang_says_that_it_is_not_well(name: str):
    """ECS, Compose and whoever asks then starts another one."""
    well = [True]

    def check() -> None:
        if not well[0]:
            raise Unavailable("It hangs.")

    def away() -> None:
        raise Unavailable("A dependency that is away is no reason to start again.")

    stand_in = SimpleNamespace(settings=Settings(), checks={"relational": away, name: check})
    with TestClient(create_probes(cast("Application", stand_in)), base_url="http://127.0.0.1") as client:
        assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (200, "ok")
        well[0] = False
        assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (503, "stuck")
