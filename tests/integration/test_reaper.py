"""What nobody else would put right: batches without their stream, jobs without a holder, rows past their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benches import Bench
from servers import ON_SERVERS

from pegasus.access import service as access
from pegasus.access.service import Reply
from pegasus.application import Application
from pegasus.bootstrap import build, local_access
from pegasus.domain import Job
from pegasus.errors import Conflict, Unavailable
from pegasus.identifiers import first_id_at
from pegasus.ingestion.batch import BatchIntake
from pegasus.jobs import service
from pegasus.jobs.reaper import Chore, Reaper
from pegasus.ports import RelationalStore
from pegasus.settings import load_settings

DAY = 86_400


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Application]:
    """Open stores and no worker."""
    application = build(load_settings(data=tmp_path, embedder="hash"), tmp_path)
    yield application
    application.close()


def sql(bench: Bench, statement: str, **parameters: Any) -> int:
    with bench.store.write() as tx:
        return tx.execute(statement, parameters)


def tidy(bench: Bench) -> int:
    changed: int = bench.do(service.tidy, time.time())
    return changed


class TestBatches:
    def test_are_closed_when_their_stream_is_gone(self, bench: Bench) -> None:
        batch = bench.do(service.open_batch, bench.workspace_id)
        child = bench.enqueue(parent_id=batch.id)
        bench.run_all(bench.worker())
        assert bench.state(batch.id) == "running"
        bench.expire_leases()
        bench.run_all(bench.worker())
        assert (bench.state(child), bench.state(batch.id)) == ("succeeded", "succeeded")
        assert bench.history(batch.id) == []

    def test_stay_open_while_somebody_keeps_them(self, bench: Bench) -> None:
        batch = bench.do(service.open_batch, bench.workspace_id)
        bench.expire_leases()
        assert bench.do(service.keep_batch, batch)
        bench.worker().run_once()
        assert bench.get(batch.id).step == "accepting"

    def test_take_nothing_in_any_more_once_closed(self, stopped: Application) -> None:
        workspace_id = local_access(stopped, stopped.settings.data).workspace_id
        batch = BatchIntake(stopped.relational, stopped.signal, workspace_id, 1_000)
        batch.feed(b'{"text": "One."}\n' * 30)
        with stopped.relational.write() as tx:
            service.close_batch(tx, batch._job)
        with pytest.raises(Conflict, match="closed"):
            batch.feed(b'{"text": "Two."}\n' * 30)
        with stopped.relational.read() as tx:
            assert service.last_item(tx, batch._job) == 25

    def test_whose_disk_was_full_end_with_what_they_have(
        self, stopped: Application, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The stream ends in an error, and so does closing the batch; it must not run until the next start."""
        workspace_id = local_access(stopped, stopped.settings.data).workspace_id
        batch = BatchIntake(stopped.relational, stopped.signal, workspace_id, 1_000, lease_seconds=0.1)
        batch.feed(b"".join(b'{"text": "Note number %d."}\n' % n for n in range(25)))
        with monkeypatch.context() as full:
            full.setattr(stopped.relational, "write", lambda *_: _raise(Unavailable("The disk is full.")))
            for act in (lambda: batch.feed(b'{"text": "One more."}\n' * 25), batch.close):
                with pytest.raises(Unavailable):
                    act()

        def job() -> Job:
            with stopped.relational.read() as tx:
                return service.get(tx, workspace_id, batch._job.id)

        until = time.monotonic() + 30
        while job().state != "succeeded" and time.monotonic() < until:
            for worker in stopped.workers:
                worker.run_once()
        assert job().result == {"items": 25, "failed": 0}

    def test_whose_last_item_ended_without_settling_them_end(self, bench: Bench) -> None:
        batch = bench.do(service.open_batch, bench.workspace_id)
        child = bench.enqueue(parent_id=batch.id)
        bench.do(service.close_batch, batch)
        sql(bench, "UPDATE jobs SET state = 'succeeded' WHERE id = :id", id=child)
        assert tidy(bench) == 1
        assert bench.state(batch.id) == "succeeded"
        assert tidy(bench) == 0


def _raise(error: Exception) -> Any:
    raise error


def test_a_job_that_runs_and_that_nobody_holds_is_queued_again(bench: Bench) -> None:
    job_id = bench.enqueue()
    sql(bench, "UPDATE jobs SET state = 'running', attempts = 1")
    assert tidy(bench) == 1
    assert bench.state(job_id) == "queued"
    bench.run_all(bench.worker())
    assert bench.state(job_id) == "succeeded"


class TestTheClockSetBack:
    def test_a_retry_does_not_wait_for_the_time_it_was_to_be(self, bench: Bench) -> None:
        job_id = bench.enqueue()
        sql(bench, "UPDATE jobs SET attempts = 1, run_after = :t", t=time.time() + 3_600)
        assert not bench.worker().run_once()
        assert tidy(bench) == 1
        assert bench.worker().run_once()
        assert bench.state(job_id) == "succeeded"

    def test_a_lost_workers_lease_does_not_last_until_then(self, bench: Bench) -> None:
        bench.enqueue()
        bench.claim("killed")
        sql(bench, "UPDATE jobs SET lease_until = :t", t=time.time() + 3_600)
        tidy(bench)
        with bench.store.read() as tx:
            left = tx.one("SELECT lease_until - :now AS seconds FROM jobs", {"now": time.time()})
        assert left
        assert left["seconds"] <= 60

    def test_what_is_as_it_should_be_is_left(self, bench: Bench) -> None:
        bench.enqueue()
        bench.claim("working")
        bench.enqueue()
        sql(bench, "UPDATE jobs SET attempts = 1, run_after = :t WHERE state = 'queued'", t=time.time() + 200)
        assert tidy(bench) == 0


class TestOldJobs:
    def ended(self, bench: Bench, days_ago: float, state: str = "succeeded", **more: Any) -> str:
        """A job that ended some days ago, with an id of that time."""
        id_ = bench.enqueue(**more)
        then = time.time() - days_ago * DAY
        old = first_id_at(then)[:14] + id_[14:]
        sql(bench, "UPDATE jobs SET id = :old, state = :state, updated_at = :then WHERE id = :id",
            old=old, state=state, then=then, id=id_)  # fmt: skip
        return old

    def left(self, bench: Bench, after_days: float = 30) -> set[str]:
        while bench.do(service.delete_finished, time.time() - after_days * DAY):
            pass
        with bench.store.read() as tx:
            return {row["id"] for row in tx.all("SELECT id FROM jobs")}

    def test_are_forgotten_and_newer_ones_kept(self, bench: Bench) -> None:
        for state in ("succeeded", "failed", "cancelled"):
            self.ended(bench, 31, state)
        new = {self.ended(bench, 29), bench.enqueue()}
        assert self.left(bench) == new

    def test_are_kept_where_they_wait_for_a_person_or_are_evidence(self, bench: Bench) -> None:
        kept = {self.ended(bench, 400, "dead"), self.ended(bench, 400, kind="erase")}
        assert self.left(bench) == kept

    def test_are_kept_while_they_are_old_and_not_ended(self, bench: Bench) -> None:
        kept = {self.ended(bench, 400, "queued"), self.ended(bench, 400, "running")}
        assert self.left(bench) == kept

    def test_of_a_batch_go_after_it(self, bench: Bench) -> None:
        """Else its results would tell of items whose jobs nobody knows."""
        parent = self.ended(bench, 10, kind="batch")
        child = self.ended(bench, 40, parent_id=parent)
        sql(bench, "INSERT INTO batch_items (job_id, ordinal, name, outcome, item_job_id)"
            " VALUES (:p, 1, 'line 1', 'created', :c)", p=parent, c=child)  # fmt: skip
        assert self.left(bench) == {parent, child}
        assert self.left(bench, after_days=5) == set()


def test_idempotency_replies_are_forgotten_after_a_day(bench: Bench) -> None:
    with bench.store.write() as tx:
        for key in ("old", "new"):
            access.remember(tx, bench.workspace_id, key, "digest", Reply(201, {}))
        tx.execute("UPDATE idempotency_keys SET created_at = created_at - 90000 WHERE key = 'old'")
        assert access.forget_old_replies(tx) == 1
        assert access.recall(tx, bench.workspace_id, "old", "digest") is None
        assert access.recall(tx, bench.workspace_id, "new", "digest")


class TestTheReaper:
    def test_does_its_chores_at_the_start_and_again_until_nothing_is_left(self, bench: Bench) -> None:
        left, done = [3, 2, 1, 0], threading.Event()

        def act(store: RelationalStore) -> int:
            found = left.pop(0)
            if not left:
                done.set()
            return found

        beats: list[None] = []
        reaper = Reaper(bench.store, [Chore("a chore", 3_600, act)], lambda: beats.append(None))
        reaper.start()
        assert done.wait(30)
        assert beats
        reaper.ask_to_stop()
        assert reaper.join(30)

    def test_goes_on_with_the_others_when_a_chore_fails(self, bench: Bench) -> None:
        left = [7, 0]
        chores = [
            Chore("full", 1, lambda store: _raise(Unavailable("The disk is full."))),
            Chore("broken", 1, lambda store: _raise(ZeroDivisionError())),
            Chore("fine", 1, lambda store: left.pop(0)),
        ]
        assert Reaper(bench.store, chores, lambda: None).run_once() == {"full": 0, "broken": 0, "fine": 7}

    def test_is_part_of_the_application(self, stopped: Application) -> None:
        chores = {"jobs left behind", "finished jobs", "idempotency replies", "uploads"}
        if not ON_SERVERS:  # There is nothing that it could purge.
            chores.add("compaction")
        assert stopped.reaper.run_once() == dict.fromkeys(chores, 0)
