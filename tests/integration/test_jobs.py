"""Jobs on a real store: who runs what when, and that nothing accepted is lost, whatever becomes of its worker."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from benches import MAX_ATTEMPTS, Bench, raising

from pegasus.access import service as access
from pegasus.domain import Job, JobState, Lane
from pegasus.errors import Conflict, Invalid, NotFound, TimedOut, Unavailable, Unexpected
from pegasus.identifiers import new_id
from pegasus.jobs import policy, repository, service
from pegasus.jobs.runner import LaneWorker

# --- Claiming -----------------------------------------------------------------------------------------------------


def test_a_person_goes_before_an_import_and_else_the_oldest_first(bench: Bench) -> None:
    bulk = [bench.enqueue(priority=service.BULK) for _ in range(2)]
    interactive = [bench.enqueue(priority=service.INTERACTIVE) for _ in range(2)]
    assert bench.claim("w", limit=3) == [*interactive, bulk[0]]
    assert bench.claim("w") == [bulk[1]]


def test_a_retried_job_of_a_person_goes_before_a_fresh_import(bench: Bench) -> None:
    """Else whoever met a passing fault waits until a night's import is through."""
    interactive = bench.enqueue(priority=service.INTERACTIVE)
    bench.task.do = raising(Unavailable("a passing fault"))
    worker = bench.worker()
    worker.run_once()
    for _ in range(3):
        bench.enqueue(priority=service.BULK)
    bench.task.do = bench.task.succeed
    bench.make_due()
    worker.run_once()
    assert bench.state(interactive) == "succeeded"


def test_a_retried_job_gets_its_turn_while_fresh_ones_keep_coming(bench: Bench) -> None:
    """As in a long import; the job was accepted, and somebody waits for it."""
    failed = bench.enqueue()
    bench.task.do = raising(Unavailable("a passing fault"))
    worker = bench.worker()
    worker.run_once()
    bench.task.do = bench.task.succeed
    for _ in range(12):
        bench.enqueue()
        bench.make_due()
        worker.run_once()
    assert bench.state(failed) == "succeeded"


def test_a_lane_takes_only_its_own_jobs(bench: Bench) -> None:
    bench.enqueue(Lane.READ)
    index = bench.enqueue(Lane.INDEX)
    assert bench.claim("w", Lane.INDEX) == [index]


def test_two_workers_never_claim_the_same_job(bench: Bench) -> None:
    ids = [bench.enqueue() for _ in range(24)]

    def claim_until_none(owner: str) -> list[str]:
        claimed: list[str] = []
        while found := bench.claim(owner, limit=3):
            claimed += found
        return claimed

    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(claim_until_none, "abcd", timeout=60))
    assert sorted(job_id for claimed in claims for job_id in claimed) == sorted(ids)


def test_a_job_waits_for_an_earlier_one_of_its_document(bench: Bench) -> None:
    """Whichever lane or priority: versions and erasures of a document never overtake each other."""
    document_id = new_id()
    first = bench.enqueue(Lane.READ, document_id=document_id, priority=service.BULK)
    second = bench.enqueue(Lane.INDEX, document_id=document_id, priority=service.INTERACTIVE)
    other = bench.enqueue(Lane.INDEX, document_id=new_id())
    assert bench.claim("w", Lane.INDEX) == [other]
    assert bench.claim("w", Lane.READ) == [first]
    assert bench.claim("w", Lane.INDEX) == []
    bench.do(service.succeed, bench.get(first), "w", {})
    assert bench.claim("w", Lane.INDEX) == [second]


@pytest.mark.parametrize("end", [service.cancel, None])
def test_a_job_no_longer_waits_when_the_earlier_one_failed_or_was_cancelled(bench: Bench, end: Any) -> None:
    document_id = new_id()
    first, second = bench.enqueue(document_id=document_id), bench.enqueue(document_id=document_id)
    if end:
        bench.do(end, bench.workspace_id, first)
    else:
        (job,) = bench.claim_jobs("w")
        bench.do(service.fail, job, "w", Invalid("broken"), MAX_ATTEMPTS)
    assert bench.claim("w") == [second]


def test_a_job_that_waits_for_its_next_try_is_left(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.do(lambda tx: tx.execute("UPDATE jobs SET attempts = 1, run_after = :at", {"at": time.time() + 60}))
    assert bench.claim_jobs("w") == bench.claim_jobs("w", fresh=False) == []
    assert not bench.worker().run_once()
    assert bench.state(job_id) == "queued"


# --- Leases -------------------------------------------------------------------------------------------------------


def test_a_job_is_claimed_again_when_its_lease_has_expired_and_not_before(bench: Bench) -> None:
    job_id = bench.enqueue()
    assert bench.claim("dead worker") == [job_id]
    assert not bench.worker().run_once()
    bench.expire_leases()
    assert bench.worker().run_once()
    assert bench.state(job_id) == "succeeded"


def test_a_renewed_lease_keeps_the_job(bench: Bench) -> None:
    bench.enqueue()
    bench.claim("slow worker")
    bench.expire_leases()
    bench.do(repository.renew, "slow worker", time.time() + 60)
    bench.do(repository.renew, "other worker", 1.0)
    assert not bench.worker().run_once()


def test_a_running_worker_keeps_the_lease_of_a_job_longer_than_it(bench: Bench) -> None:
    job_id = bench.enqueue()
    other = bench.worker(lease_seconds=1)

    def slowly(jobs: Sequence[Job], owner: str) -> None:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert not other.run_once()
            time.sleep(0.05)
        bench.task.succeed(jobs, owner)

    bench.task.do = slowly
    worker = bench.worker(lease_seconds=1)
    worker.start()
    until = time.monotonic() + 60
    while bench.state(job_id) != "succeeded" and time.monotonic() < until:
        time.sleep(0.05)
    worker.ask_to_stop()
    assert worker.join(30)
    assert bench.state(job_id) == "succeeded"
    assert bench.get(job_id).attempts == 1


def test_a_worker_that_lost_its_lease_can_settle_nothing(bench: Bench) -> None:
    job_id = bench.enqueue()
    (late,) = bench.claim_jobs("late")
    bench.expire_leases()
    (held,) = bench.claim_jobs("other", fresh=False)
    assert not bench.do(service.succeed, late, "late", {"by": "late"})
    assert not bench.do(service.report_progress, late, "late", "step", 1, 2)
    assert not bench.do(service.hand_over, late, "late", Lane.INDEX, "embed")
    bench.do(service.fail, late, "late", Invalid("late"), MAX_ATTEMPTS)
    bench.do(service.fail, late, "late", Unavailable("late"), MAX_ATTEMPTS)
    bench.do(service.await_items, late, "late")
    job = bench.get(job_id)
    assert (job.state, job.lease_owner, job.step, job.error, job.attempts) == (
        JobState.RUNNING, "other", "step", None, 2,
    )  # fmt: skip
    assert bench.do(service.succeed, held, "other", {"by": "other"})
    assert bench.get(job_id).result == {"by": "other"}


@pytest.mark.parametrize("error", [Invalid("permanent"), Unavailable("last try")])
def test_a_worker_that_lost_its_lease_gives_up_nothing(bench: Bench, error: Exception) -> None:
    """Giving up marks the document as failed, which only the worker that holds its job may do."""
    job_id = bench.enqueue()
    bench.do(lambda tx: tx.execute("UPDATE jobs SET attempts = :n", {"n": MAX_ATTEMPTS - 1}))

    def overtaken(jobs: Sequence[Job], owner: str) -> None:
        bench.expire_leases()
        assert [job.id for job in bench.claim_jobs("other", fresh=False)] == [job_id]
        raise error

    bench.task.do = overtaken
    bench.worker().run_once()
    assert bench.get(job_id).lease_owner == "other"
    assert bench.task.given_up == []


# --- Failing ------------------------------------------------------------------------------------------------------


def test_a_passing_fault_is_tried_again_later_and_later_and_in_the_end_is_dead(bench: Bench) -> None:
    job_id = bench.enqueue(kind="source")  # Its schedule asks again: it need not wait.
    bench.task.do = raising(Unavailable("no answer"))
    worker = bench.worker()
    for attempt in range(1, MAX_ATTEMPTS):
        assert worker.run_once()
        job = bench.get(job_id)
        assert (job.state, job.attempts) == (JobState.QUEUED, attempt)
        assert job.error
        assert not worker.run_once(), "it must wait before it tries again"
        bench.make_due()
    assert worker.run_once()
    assert bench.state(job_id) == "dead"
    assert bench.task.given_up == [(job_id, "no answer")]
    bench.run_all(worker)
    assert len(bench.task.runs) == MAX_ATTEMPTS


class TestAJobThatWaitsForAStore:
    def run(self, bench: Bench, worker: LaneWorker, error: Exception, times: int = 1) -> None:
        bench.task.do = raising(error)
        for _ in range(times):
            bench.make_due()
            assert worker.run_once()

    def waited(self, bench: Bench, job_id: str, seconds: float) -> None:
        """Let it have waited for so long."""
        error = {**(bench.get(job_id).error or {})}
        since = datetime.fromisoformat(error["since"]) - timedelta(seconds=seconds)
        changed = json.dumps({**error, "since": since.isoformat()})
        bench.do(lambda tx: tx.execute("UPDATE jobs SET error = :e WHERE id = :id", {"e": changed, "id": job_id}))

    def test_does_so_for_as_long_as_its_patience_lasts_and_keeps_its_attempts(self, bench: Bench) -> None:
        job_id = bench.enqueue()
        worker = bench.worker()
        self.run(bench, worker, Unavailable("away"), 10 * MAX_ATTEMPTS)
        assert not worker.run_once(), "it must wait before it tries again"
        self.waited(bench, job_id, 86_000)
        self.run(bench, worker, Unavailable("away"))
        job = bench.get(job_id)
        assert (job.state, job.attempts) == (JobState.QUEUED, 1)
        assert bench.task.given_up == []
        self.run(bench, worker, ZeroDivisionError("oops"), MAX_ATTEMPTS - 2)
        assert bench.state(job_id) == "queued"
        bench.task.do = bench.task.succeed
        bench.make_due()
        assert worker.run_once()
        assert bench.state(job_id) == "succeeded"

    def test_is_dead_when_its_patience_is_spent(self, bench: Bench) -> None:
        job_id = bench.enqueue()
        worker = bench.worker(patience_seconds=3_600)
        self.run(bench, worker, Unavailable("away"), 2)
        self.waited(bench, job_id, 3_601)
        self.run(bench, worker, Unavailable("still away"))
        assert bench.state(job_id) == "dead"
        assert bench.task.given_up == [(job_id, "still away")]

    def test_counts_only_the_time_in_which_it_got_nowhere(self, bench: Bench) -> None:
        job_id = bench.enqueue()
        worker = bench.worker(patience_seconds=3_600)
        self.run(bench, worker, Unavailable("away"), 2)
        self.waited(bench, job_id, 3_601)

        def get_further(jobs: Sequence[Job], owner: str) -> None:
            with bench.store.write() as tx:
                assert service.is_held(tx, jobs[0], owner, progressed=True)
            raise Unavailable("away again")

        bench.task.do = get_further
        bench.make_due()
        assert worker.run_once()
        assert bench.state(job_id) == "queued"
        self.run(bench, worker, Unavailable("away"), 2)
        assert bench.state(job_id) == "queued"

    def test_has_a_history_that_ends_somewhere(self, bench: Bench) -> None:
        job_id = bench.enqueue()
        self.run(bench, bench.worker(), Unavailable("away"), 30)
        self.run(bench, bench.worker(), Unavailable("the last"))
        with bench.store.read() as tx:
            kept = service.attempts(tx, service.get(tx, bench.workspace_id, job_id))
        assert [attempt.number for attempt in kept] == list(range(1, 21))
        assert [kept[-2].error["detail"], kept[-1].error["detail"]] == ["away", "the last"]

    def test_waits_as_long_again_as_the_store_was_away(self) -> None:
        waits = [max(policy.patient_wait_seconds(away) for _ in range(300)) for away in (0, 10, 100, 86_400)]
        assert waits[0] < waits[1] < waits[2] < waits[3] <= policy.LONGEST_WAIT_SECONDS + 0.5
        assert min(policy.patient_wait_seconds(0) for _ in range(100)) >= 0.5

    def test_a_step_that_hangs_is_no_store_that_is_away(self) -> None:
        assert policy.is_patient(Unavailable("away"))
        assert not any(map(policy.is_patient, (TimedOut("slow"), Unexpected("a defect"), Invalid("broken"))))


def test_waits_grow_with_the_attempts_and_end_somewhere() -> None:
    away = Unavailable("no answer")
    waits = [max(policy.wait_seconds(away, attempt) for _ in range(300)) for attempt in (1, 3, 5, 50, 2_000)]
    assert waits[0] < waits[1] < waits[2] < 33
    assert min(policy.wait_seconds(away, 1) for _ in range(100)) >= 0.5
    assert max(waits) <= policy.LONGEST_WAIT_SECONDS + 0.5


def test_a_fault_that_will_not_pass_fails_at_once(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.task.do = raising(Invalid("broken file", hint="mend it"))
    assert bench.worker().run_once()
    job = bench.get(job_id)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error
    assert (job.error["detail"], job.error["hint"]) == ("broken file", "mend it")
    assert bench.task.given_up == [(job_id, "broken file")]


def test_an_unexpected_error_is_tried_again_and_told_in_the_row(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.task.do = raising(ZeroDivisionError("oops"))
    worker = bench.worker()
    assert worker.run_once()
    assert bench.state(job_id) == "queued"
    assert "ZeroDivisionError" in str(bench.get(job_id).error)
    bench.task.do = bench.task.succeed
    bench.run_all(worker)
    assert bench.state(job_id) == "succeeded"
    assert bench.get(job_id).error is None


def test_a_job_that_takes_its_process_along_each_time_is_dead_in_the_end(bench: Bench) -> None:
    job_id = bench.enqueue()
    for n in range(MAX_ATTEMPTS):
        assert [job.id for job in bench.claim_jobs(f"killed {n}", fresh=n == 0)] == [job_id]
        bench.expire_leases()
    assert not bench.worker().run_once()
    assert bench.state(job_id) == "dead"
    assert bench.task.runs == []
    assert [id_ for id_, _ in bench.task.given_up] == [job_id]


def test_one_bad_job_of_a_batch_does_not_cost_the_others_anything(bench: Bench) -> None:
    ids = [bench.enqueue(Lane.INDEX) for _ in range(5)]
    bad = ids[2]

    def one_raises(jobs: Sequence[Job], owner: str) -> None:
        if bad in [job.id for job in jobs]:
            raise ZeroDivisionError
        bench.task.succeed(jobs, owner)

    bench.task.do = one_raises
    worker = bench.worker(Lane.INDEX)
    assert worker.run_once()
    assert {bench.state(job_id) for job_id in ids if job_id != bad} == {"succeeded"}
    bench.run_all(worker)
    assert bench.state(bad) == "dead"
    assert bench.get(bad).attempts == MAX_ATTEMPTS


def test_a_job_that_killed_its_batch_is_tried_alone(bench: Bench) -> None:
    """After a crash nobody knows which job of the batch it was; the others must not die with it again."""
    ids = [bench.enqueue(Lane.INDEX) for _ in range(4)]
    assert bench.claim("killed", Lane.INDEX) == ids
    bench.expire_leases()
    worker = bench.worker(Lane.INDEX)
    bench.run_all(worker)
    assert bench.task.runs == [[job_id] for job_id in ids]


def test_a_job_of_a_kind_that_this_version_does_not_know_stops_nobody(bench: Bench) -> None:
    """As after a rollback: once its attempts are spent, it must not stand before others' retries for ever."""
    bench.enqueue(kind="of the next version")
    bench.do(lambda tx: tx.execute("UPDATE jobs SET attempts = 99"))
    known = bench.enqueue()
    bench.do(lambda tx: tx.execute("UPDATE jobs SET attempts = 1 WHERE id = :id", {"id": known}))
    worker = bench.worker()
    for _ in range(5):
        with suppress(Exception):  # As the worker's own loop does.
            worker.run_once()
    assert bench.state(known) == "succeeded"


# --- By hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Invalid("broken"), ZeroDivisionError("a defect")])
def test_a_retry_starts_over(bench: Bench, error: Exception) -> None:
    job_id = bench.enqueue()
    bench.task.do = raising(error)
    worker = bench.worker()
    bench.run_all(worker)
    assert bench.state(job_id) in ("failed", "dead")
    job = bench.do(service.retry, bench.workspace_id, job_id)
    assert (job.state, job.attempts, job.error) == (JobState.QUEUED, 0, None)
    bench.task.do = bench.task.succeed
    assert worker.run_once()
    assert bench.state(job_id) == "succeeded"


def test_only_what_ended_badly_can_be_retried(bench: Bench) -> None:
    job_id = bench.enqueue()
    with pytest.raises(Conflict):
        bench.do(service.retry, bench.workspace_id, job_id)
    bench.worker().run_once()
    with pytest.raises(Conflict):
        bench.do(service.retry, bench.workspace_id, job_id)


def test_a_cancelled_job_is_not_run(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.do(service.cancel, bench.workspace_id, job_id)
    assert not bench.worker().run_once()
    assert bench.state(job_id) == "cancelled"
    with pytest.raises(Conflict):
        bench.do(service.cancel, bench.workspace_id, job_id)


def test_a_job_cancelled_while_it_runs_stays_cancelled_and_is_told(bench: Bench) -> None:
    job_id = bench.enqueue()
    told = []

    def cancelled_meanwhile(jobs: Sequence[Job], owner: str) -> None:
        bench.do(service.cancel, bench.workspace_id, job_id)
        told.append(bench.do(service.report_progress, jobs[0], owner, "step", 1, 2))
        bench.task.succeed(jobs, owner)

    bench.task.do = cancelled_meanwhile
    bench.worker().run_once()
    assert told == [False]
    assert bench.state(job_id) == "cancelled"
    assert bench.get(job_id).result is None


def test_a_job_that_fails_after_it_was_cancelled_is_not_given_up(bench: Bench) -> None:
    job_id = bench.enqueue()

    def cancelled_meanwhile(jobs: Sequence[Job], owner: str) -> None:
        bench.do(service.cancel, bench.workspace_id, job_id)
        raise Invalid("broken")

    bench.task.do = cancelled_meanwhile
    bench.worker().run_once()
    assert bench.state(job_id) == "cancelled"
    assert bench.task.given_up == []


def test_an_erasure_cannot_be_cancelled(bench: Bench) -> None:
    job_id = bench.enqueue(kind="erase")
    with pytest.raises(Conflict):
        bench.do(service.cancel, bench.workspace_id, job_id)


def test_another_workspaces_job_is_not_there(bench: Bench) -> None:
    job_id = bench.enqueue()
    with bench.store.write() as tx:
        other = access.create_workspace(tx, "other")
    for call in (service.get, service.cancel, service.retry):
        with pytest.raises(NotFound):
            bench.do(call, other, job_id)
    with pytest.raises(NotFound):
        bench.do(service.items, other, job_id, 0, 10)
    assert bench.state(job_id) == "queued"


# --- Batches ------------------------------------------------------------------------------------------------------


def open_batch(bench: Bench, children: int) -> tuple[Job, list[str]]:
    batch = bench.do(service.open_batch, bench.workspace_id)
    ids = [bench.enqueue(parent_id=batch.id) for _ in range(children)]
    for ordinal, job_id in enumerate(ids, start=1):
        bench.do(lambda tx, o=ordinal, j=job_id: service.add_item(tx, batch, o, f"line {o}", "created", item_job_id=j))
    return batch, ids


def test_a_batch_ends_when_it_is_closed_and_its_last_job_is_finished(bench: Bench) -> None:
    batch, ids = open_batch(bench, 2)
    worker = bench.worker()
    worker.run_once()
    assert bench.state(batch.id) == "running"
    bench.do(service.close_batch, batch)
    assert bench.state(batch.id) == "running"
    assert bench.get(batch.id).progress["done"] == 1
    worker.run_once()
    assert bench.state(batch.id) == "succeeded"
    assert bench.get(batch.id).result == {"items": 2, "failed": 0}
    assert [bench.state(job_id) for job_id in ids] == ["succeeded"] * 2


def test_a_batch_whose_jobs_are_all_finished_still_waits_to_be_closed(bench: Bench) -> None:
    batch, _ = open_batch(bench, 1)
    bench.run_all(bench.worker())
    assert bench.state(batch.id) == "running"
    bench.do(service.close_batch, batch)
    assert bench.state(batch.id) == "succeeded"


def test_a_batch_of_nothing_ends_when_it_is_closed(bench: Bench) -> None:
    batch, _ = open_batch(bench, 0)
    bench.do(service.close_batch, batch)
    assert bench.get(batch.id).result == {"items": 0, "failed": 0}


def test_a_batch_counts_jobs_that_failed_and_lines_that_were_refused(bench: Bench) -> None:
    batch, ids = open_batch(bench, 3)
    refused = Invalid("no text").problem()
    bench.do(lambda tx: service.add_item(tx, batch, 4, "line 4", "refused", error=refused))
    bench.do(service.close_batch, batch)
    worker = bench.worker()
    worker.run_once()
    bench.task.do = raising(Invalid("broken"))
    worker.run_once()
    bench.do(service.cancel, bench.workspace_id, ids[2])
    assert bench.state(batch.id) == "succeeded"
    assert bench.get(batch.id).result == {"items": 4, "failed": 2}
    items = bench.do(service.items, bench.workspace_id, batch.id, 0, 10)
    assert [item["state"] for item in items] == ["succeeded", "failed", "cancelled", "failed"]
    assert [bool(item["error"]) for item in items] == [False, True, False, True]
    assert [item["ordinal"] for item in bench.do(service.items, bench.workspace_id, batch.id, 2, 1)] == [3]


def test_a_batch_itself_is_never_run_or_retried(bench: Bench) -> None:
    batch, _ = open_batch(bench, 0)
    assert not bench.worker().run_once()
    bench.do(service.close_batch, batch)
    with pytest.raises(Conflict):
        bench.do(service.retry, bench.workspace_id, batch.id)


# --- Crashes ------------------------------------------------------------------------------------------------------


def test_what_a_crashed_process_held_is_queued_again_at_once(bench: Bench) -> None:
    held, waiting, done = (bench.enqueue() for _ in range(3))
    assert bench.claim("crashed", limit=1) == [held]
    bench.do(service.cancel, bench.workspace_id, done)
    assert bench.do(service.recover) == 1
    assert [bench.state(job_id) for job_id in (held, waiting, done)] == ["queued", "queued", "cancelled"]
    bench.run_all(bench.worker())
    assert [bench.state(job_id) for job_id in (held, waiting)] == ["succeeded"] * 2
    assert bench.get(held).attempts == 2, "an attempt that took the process with it counts"


def test_a_batch_whose_stream_ended_with_its_process_is_closed(bench: Bench) -> None:
    batch, ids = open_batch(bench, 2)
    bench.claim("crashed", limit=1)
    bench.do(service.recover)
    assert bench.state(batch.id) == "running"
    bench.run_all(bench.worker())
    assert {bench.state(job_id) for job_id in ids} == {"succeeded"}
    assert bench.get(batch.id).result == {"items": 2, "failed": 0}


def test_a_batch_whose_jobs_were_done_when_its_process_crashed_ends(bench: Bench) -> None:
    batch, _ = open_batch(bench, 1)
    bench.run_all(bench.worker())
    bench.do(service.recover)
    assert bench.state(batch.id) == "succeeded"


def test_recovering_twice_changes_nothing_more(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.claim("crashed")
    assert [bench.do(service.recover) for _ in range(2)] == [1, 0]
    assert bench.state(job_id) == "queued"


def test_the_next_step_of_a_job_starts_with_all_its_attempts(bench: Bench) -> None:
    job_id = bench.enqueue()
    (job,) = bench.claim_jobs("reader")
    bench.do(service.hand_over, job, "reader", Lane.INDEX, "embed")
    after = bench.get(job_id)
    assert (after.state, after.lane, after.step, after.attempts) == (JobState.QUEUED, Lane.INDEX, "embed", 0)
    assert bench.claim("indexer", Lane.INDEX) == [job_id]
