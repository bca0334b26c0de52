"""Other processes hear of jobs, whatever becomes of messages; and what must be alone in its lane is."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest
from benches import Bench
from several import until
from structlog.testing import capture_logs

from pegasus.domain import Lane
from pegasus.errors import Unavailable
from pegasus.jobs import service
from pegasus.jobs.dispatcher import Dispatcher, measure, publish_due, publishing_what_is_due
from pegasus.jobs.worker import LaneSettings, Worker
from pegasus.ports import QueueLength
from pegasus.telemetry import configure_logging


class HeldQueue:
    """A queue whose messages stay, and which is away when the test says so."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.calls = 0
        self.away: Exception | None = None
        self.slow = threading.Event()
        self.slow.set()

    def publish(self, lane: str) -> None:
        self.calls += 1
        assert self.slow.wait(60)
        if self.away:
            raise self.away
        self.messages[lane] += 1

    def lengths(self, lanes: Sequence[str]) -> Mapping[str, QueueLength]:
        if self.away:
            raise self.away
        return {lane: QueueLength(self.messages[lane], 0, 0) for lane in lanes}


@pytest.fixture
def queue() -> HeldQueue:
    return HeldQueue()


@pytest.fixture
def dispatcher(queue: HeldQueue) -> Iterator[Dispatcher]:
    made = Dispatcher(queue)
    with made.running():
        yield made


def test_a_signal_is_published_by_somebody_else(dispatcher: Dispatcher, queue: HeldQueue) -> None:
    queue.slow.clear()
    begun = time.perf_counter()
    for _ in range(10_000):
        dispatcher.notify_all()
    assert time.perf_counter() - begun < 5, "nobody waits for the broker"
    queue.slow.set()
    until(lambda: min(queue.messages[lane] for lane in Lane) >= 1, "each lane was told of")
    assert sum(queue.messages.values()) <= 10, "what is told already is not told again"


def test_a_burst_is_told_of_together(dispatcher: Dispatcher, queue: HeldQueue) -> None:
    begun = time.monotonic()
    for _ in range(100):
        dispatcher.notify(Lane.INDEX)
        time.sleep(0.001)
    took = time.monotonic() - begun
    until(lambda: queue.messages[Lane.INDEX], "it was told of")
    assert queue.messages[Lane.INDEX] <= took / 0.01 + 2


@pytest.mark.parametrize(
    "error", [Unavailable("It is away."), RuntimeError("nobody expected this")], ids=["away", "odd"]
)
def test_what_could_not_be_published_is_published_when_the_broker_is_back(
    dispatcher: Dispatcher, queue: HeldQueue, error: Exception
) -> None:
    queue.away = error
    dispatcher.notify(Lane.READ)
    until(lambda: queue.calls >= 3, "it is tried again")
    dispatcher.notify(Lane.INDEX)
    queue.away = None
    until(lambda: queue.messages[Lane.READ] == queue.messages[Lane.INDEX] == 1, "both were told of")


def test_due_jobs_are_published_until_somebody_has_them(bench: Bench, queue: HeldQueue) -> None:
    assert publish_due(bench.store, queue) == 0
    ids = [bench.enqueue() for _ in range(3)]
    assert publish_due(bench.store, queue) == 3
    assert publish_due(bench.store, queue) == 0, "there is a message for each"
    queue.messages.clear()  # FLUSHALL
    assert publish_due(bench.store, queue) == 3
    queue.messages.clear()
    assert len(bench.claim("somebody", limit=2)) == 2
    assert publish_due(bench.store, queue) == 1
    queue.messages.clear()
    bench.expire_leases()
    assert publish_due(bench.store, queue) == 3, "a lease that has ended is work, too"
    assert all(bench.state(id_) in ("queued", "running") for id_ in ids)


def test_a_thousand_jobs_are_not_a_thousand_messages(bench: Bench, queue: HeldQueue) -> None:
    for _ in range(40):
        bench.enqueue()
    assert publish_due(bench.store, queue) == 16
    assert publish_due(bench.store, queue) == 0


def test_a_retry_is_published_when_it_falls_due_and_not_before(bench: Bench, queue: HeldQueue) -> None:
    id_ = bench.enqueue()
    (job,) = bench.claim_jobs("somebody")
    bench.do(service.fail, job, "somebody", Unavailable("away"), 10)
    assert publish_due(bench.store, queue) == 0
    bench.make_due()
    assert publish_due(bench.store, queue) == 1
    assert bench.state(id_) == "queued"


def test_whoever_looks_for_due_jobs_outlives_broker_and_store(bench: Bench, queue: HeldQueue) -> None:
    queue.away = Unavailable("It is away.")
    bench.enqueue()
    beats: list[float] = []
    with publishing_what_is_due(bench.store, queue, lambda: beats.append(time.monotonic())):
        until(lambda: len(beats) > 1, "a second look, after the first has failed", 30)
        queue.away = None
        until(lambda: queue.messages[Lane.READ], "published when it is back", 30)


def test_the_log_tells_how_much_waits_and_for_how_long(bench: Bench) -> None:
    before, now = enqueue(bench, "probe"), enqueue(bench, "probe")
    with bench.store.write() as tx:
        tx.execute("UPDATE jobs SET run_after = run_after - 90 WHERE id = :id", {"id": before})
    configure_logging("info", "text")
    with capture_logs() as logged:
        measure(bench.store)
    (told,) = [entry for entry in logged if entry["event"] == "queue.measured"]
    assert told["waiting"] == 2, now
    assert 90 <= told["oldest_seconds"] < 150


def worker(bench: Bench) -> Worker:
    return Worker(Lane.INDEX, bench.store, {"probe": bench.task, "rebuild": bench.task}, LaneSettings(10, 60))


def enqueue(bench: Bench, kind: str) -> str:
    with bench.store.write() as tx:
        return service.enqueue(tx, bench.workspace_id, kind, Lane.INDEX, "step").id


def test_a_small_import_is_shared_by_two_workers(bench: Bench) -> None:
    ids = [enqueue(bench, "probe") for _ in range(3)]
    settings = LaneSettings(10, 60, batch=2)
    first, second = (Worker(Lane.INDEX, bench.store, {"probe": bench.task}, settings) for _ in range(2))
    assert [job.id for job in first._claim()] == ids[:2]
    assert [job.id for job in second._claim()] == ids[2:]


def test_what_others_have_lost_is_found_by_a_worker_that_never_runs_out_of_work(bench: Bench) -> None:
    lost = bench.enqueue()
    assert bench.claim("somebody who vanishes") == [lost]
    busy = bench.worker()
    bench.enqueue()
    assert busy.run_once()
    bench.expire_leases()
    end = time.monotonic() + 30
    while bench.state(lost) != "succeeded":
        assert time.monotonic() < end
        bench.enqueue()
        assert busy.run_once()


@pytest.mark.parametrize("kind", ["rebuild", "compact", "repair", "erase-workspace"])
def test_what_exchanges_whole_stores_waits_for_others_and_they_for_it(bench: Bench, kind: str) -> None:
    first, second = worker(bench), worker(bench)
    (job,) = [enqueue(bench, "probe")]
    assert [j.id for j in first._claim()] == [job]
    alone, later = enqueue(bench, kind), enqueue(bench, "probe")
    assert second._claim() == [], "one is still running, and nothing more is begun"
    bench.do(service.succeed, bench.get(job), first.owner, {})
    assert [j.id for j in second._claim()] == [alone]
    assert first._claim() == []
    bench.do(service.succeed, bench.get(alone), second.owner, {})
    assert [j.id for j in first._claim()] == [later]


def test_two_workers_never_run_two_of_those_at_a_time(bench: Bench) -> None:
    ids = {enqueue(bench, "rebuild") for _ in range(2)}
    workers = [worker(bench) for _ in range(4)]
    ready = threading.Barrier(4)
    claimed: list[str] = []

    def claim(one: Worker) -> None:
        ready.wait(20)
        claimed.extend(job.id for job in one._claim())

    threads = [threading.Thread(target=claim, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(claimed) == 1
    assert claimed[0] in ids


def test_a_worker_that_was_killed_in_a_rebuild_does_not_block_its_lane(bench: Bench) -> None:
    alone, other = enqueue(bench, "rebuild"), enqueue(bench, "probe")
    assert [job.id for job in worker(bench)._claim()] == [alone]
    bench.expire_leases()
    second = worker(bench)
    assert [job.id for job in second._claim()] == [alone]
    bench.do(service.succeed, bench.get(alone), second.owner, {})
    assert [job.id for job in second._claim()] == [other]


def test_a_parent_that_only_stands_for_its_items_blocks_nothing(bench: Bench) -> None:
    repair, first = enqueue(bench, "repair"), worker(bench)
    (job,) = first._claim()
    with bench.store.write() as tx:
        service.enqueue(tx, bench.workspace_id, "probe", Lane.INDEX, "step", parent_id=repair)
        service.await_items(tx, job, first.owner)
    assert bench.state(repair) == "running"
    assert len(first._claim()) == 1


def test_what_is_handed_back_starts_at_once_and_cost_no_attempt(bench: Bench) -> None:
    ids = [enqueue(bench, "probe") for _ in range(4)]
    first, second = worker(bench), worker(bench)
    held = first._claim()
    assert first.is_busy
    bench.do(service.succeed, held[0], first.owner, {})
    assert first.hand_back() == 3, "the one that was done is done"
    assert {job.id for job in second._claim()} == set(ids[1:])
    assert [bench.get(id_).attempts for id_ in ids[1:]] == [1, 1, 1]
    assert [bench.get(id_).crashes for id_ in ids] == [0, 0, 0, 0]
    with bench.store.write() as tx:
        assert not service.succeed(tx, held[1], first.owner, {}), "what the first still does settles nothing"
    assert bench.history(ids[1]) == []
