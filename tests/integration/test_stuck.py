"""What hangs is given up: the step of a job, and a store that never answers a search."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from benches import MAX_ATTEMPTS, Bench

from pegasus import bootstrap
from pegasus.application import Application
from pegasus.domain import Job
from pegasus.errors import TimedOut, Unavailable
from pegasus.jobs import service
from pegasus.jobs.runner import LaneWorker
from pegasus.search import service as search_service
from pegasus.search.service import Mode, SearchService
from pegasus.time_limits import LimitedCalls


def until(condition: Callable[[], bool], timeout_seconds: float = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def lane(bench: Bench) -> Iterator[LaneWorker]:
    """A running lane that gives a step up when it shows no progress for a fifth of a second."""
    yield from running(bench.worker(step_seconds=0.2))


@pytest.fixture
def patient_lane(bench: Bench) -> Iterator[LaneWorker]:
    """The same with so much time that a step which does show progress has enough of it on a slow machine."""
    yield from running(bench.worker(step_seconds=1.5))


def running(worker: LaneWorker) -> Iterator[LaneWorker]:
    worker.start()
    yield worker
    worker.ask_to_stop()
    worker.join(30)


def stop(worker: LaneWorker) -> None:
    worker.ask_to_stop()
    worker.join(30)


class TestAWorkerThatHangs:
    def test_loses_its_job_which_another_takes_over(
        self, bench: Bench, patient_lane: LaneWorker, release: threading.Event
    ) -> None:
        late: list[bool] = []
        first = threading.Event()

        def hang_once(jobs: Sequence[Job], owner: str) -> None:
            if first.is_set():
                bench.task.succeed(jobs, owner)
                return
            first.set()
            release.wait(30)
            late.append(bench.do(service.succeed, jobs[0], owner, {"by": "the one that hung"}))

        bench.task.do = hang_once
        job_id = bench.enqueue()
        owner = patient_lane.owner
        until(lambda: patient_lane.stuck == 1)
        assert patient_lane.owner != owner
        assert bench.history(job_id) == [("stuck", "timed-out")]
        bench.make_due()
        until(lambda: bench.state(job_id) == "succeeded")
        release.set()
        until(lambda: patient_lane.stuck == 0)
        assert late == [False], "the one that hung has lost its right to settle"
        assert bench.get(job_id).result == {"by": patient_lane.owner}

    def test_ends_as_a_dead_letter_if_it_hangs_each_time(
        self, bench: Bench, lane: LaneWorker, release: threading.Event
    ) -> None:
        bench.task.do = lambda jobs, owner: release.wait(60) and None
        job_id = bench.enqueue()

        def dead() -> bool:
            bench.make_due()
            return bench.state(job_id) == "dead"

        until(dead)
        assert bench.history(job_id) == [("stuck", "timed-out")] * MAX_ATTEMPTS
        assert [id_ for id_, _ in bench.task.given_up] == [job_id]
        assert "no progress" in str(bench.get(job_id).error)

    def test_is_left_behind_so_many_times_and_no_more(
        self, bench: Bench, lane: LaneWorker, release: threading.Event
    ) -> None:
        """Threads that hang must not pile up; once one of them comes back the lane goes on."""
        bench.task.do = lambda jobs, owner: release.wait(60) and None
        for _ in range(4):
            bench.enqueue()
        until(lambda: lane.stuck == 3)
        time.sleep(0.5)
        assert lane.stuck == 3
        assert len(bench.task.runs) == 3
        bench.task.do = bench.task.succeed
        release.set()
        until(lambda: lane.stuck == 0 and len(bench.task.runs) > 3)

    def test_is_told_by_readiness(self, bench: Bench, lane: LaneWorker, release: threading.Event) -> None:
        bench.task.do = lambda jobs, owner: release.wait(60) and None
        bench.enqueue()
        until(lambda: lane.stuck == 1)
        with pytest.raises(Unavailable, match="1 of the lane read"):
            bootstrap._all_at_work((lane,))()
        release.set()
        until(lambda: lane.stuck == 0)
        bootstrap._all_at_work((lane,))()

    def test_is_not_one_that_shows_progress(self, bench: Bench, patient_lane: LaneWorker) -> None:
        def slowly(jobs: Sequence[Job], owner: str) -> None:
            for n in range(25):
                time.sleep(0.1)
                assert bench.do(service.report_progress, jobs[0], owner, "step", n, 25)
            bench.task.succeed(jobs, owner)

        bench.task.do = slowly
        job_id = bench.enqueue()
        until(lambda: bench.state(job_id) == "succeeded")
        assert patient_lane.stuck == 0
        assert bench.history(job_id) == []


class Hanging:
    """A vector store whose queries never come back."""

    def __init__(self, release: threading.Event) -> None:
        self._release = release

    def query(self, *_: object) -> list[tuple[str, float]]:
        self._release.wait(60)
        return []


class TestASearchOnAStoreThatHangs:
    @pytest.fixture
    def search(
        self, application: Application, release: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[SearchService]:
        monkeypatch.setattr(search_service, "_MEANING_SECONDS", 0.3)
        hanging: Any = Hanging(release)
        search = SearchService(
            application.relational, hanging, application.search._graph, application.search._questions
        )
        yield search
        release.set()
        search.close()

    def test_is_unavailable_and_says_what_to_look_at(self, search: SearchService, workspace_id: str) -> None:
        with pytest.raises(TimedOut) as told:
            search.search(workspace_id, "heron")
        assert told.value.status == 503
        assert "free space" in (told.value.hint or "")
        search.check()

    def test_still_finds_words(self, search: SearchService, workspace_id: str) -> None:
        assert search.search(workspace_id, "heron", mode=Mode.LEXICAL) == []

    def test_is_refused_at_once_when_as_many_hang_as_there_are_threads(
        self, search: SearchService, workspace_id: str
    ) -> None:
        for _ in range(4):
            with pytest.raises(TimedOut):
                search.search(workspace_id, "heron", mode=Mode.SEMANTIC)
        time.sleep(0.35)  # Until the last of them is late, too.
        begun = time.monotonic()
        for _ in range(50):
            with pytest.raises(TimedOut, match="no more"):
                search.search(workspace_id, "heron")
        assert time.monotonic() - begun < 50 * 0.3 / 2, "they waited as long as those that hang"
        with pytest.raises(TimedOut):
            search.check()


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    script = (
        "import threading\nfrom pegasus.time_limits import LimitedCalls\n"
        "calls = LimitedCalls('test', 2, 0.1, 'wait')\ncalls.start(threading.Event().wait)\ncalls.close()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


class TestCallsWithALimit:
    def test_return_and_raise_what_the_call_does(self) -> None:
        calls = LimitedCalls("test", 2, 5, "wait")
        assert calls.result(calls.start(divmod, 7, 2)) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            calls.result(calls.start(divmod, 7, 0))
        with pytest.raises(TimeoutError, match="its own"):
            calls.result(calls.start(self.raise_its_own))
        calls.close()

    @staticmethod
    def raise_its_own() -> None:
        raise TimeoutError("its own")

    def test_that_hang_are_told_and_then_refused_at_once(self, release: threading.Event) -> None:
        calls = LimitedCalls("test", 2, 1, "check the free space")
        pending = [calls.start(release.wait, 30) for _ in range(2)]
        for one in pending:
            with pytest.raises(TimedOut, match="within 1 second") as told:
                calls.result(one)
            assert told.value.hint == "check the free space"
        begun = time.monotonic()
        with pytest.raises(TimedOut, match="no more"):
            calls.start(release.wait, 30)
        with pytest.raises(TimedOut):
            calls.check()
        assert time.monotonic() - begun < 1
        release.set()
        until(lambda: not calls._calls.qsize() and calls._busy_since == [None, None])
        assert calls.result(calls.start(divmod, 7, 2)) == (3, 1)
        calls.close()

    def test_one_that_hangs_leaves_the_other_threads_to_others_and_holds_up_no_end(
        self, release: threading.Event
    ) -> None:
        calls = LimitedCalls("test", 2, 0.2, "wait")
        hung = calls.start(release.wait, 30)
        assert [calls.result(calls.start(divmod, n, 2))[0] for n in range(10)] == [n // 2 for n in range(10)]
        with pytest.raises(TimedOut):
            calls.result(hung)
        begun = time.monotonic()
        calls.close()
        assert time.monotonic() - begun < 20
