"""What becomes of a job that cannot be done: by the family of its error, with the history of its attempts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from benches import MAX_ATTEMPTS, Bench, raising

from pegasus.domain import Job, JobState
from pegasus.errors import Invalid, TimedOut, TooLarge, Unavailable, Unexpected, UnsupportedFormat, WorkerLost
from pegasus.jobs import policy, repository, service


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (Invalid("broken"), 1),
        (TooLarge("long"), 1),
        (UnsupportedFormat("odd"), 1),
        (TimedOut("slow"), 3),
        (Unexpected("a defect"), 3),
        (WorkerLost("gone"), 5),
        (Unavailable("away"), 10),
    ],
)
def test_each_family_has_its_attempts(error: Any, attempts: int) -> None:
    spent = [policy.is_spent(error, n, max_attempts=100) for n in range(1, 13)]
    assert spent.index(True) + 1 == attempts
    assert policy.is_spent(error, 2, max_attempts=2), "the installation's limit goes before it"


def test_a_dead_letter_tells_of_each_attempt(bench: Bench) -> None:
    job_id = bench.enqueue()
    worker = bench.worker()
    errors = [WorkerLost("first"), ZeroDivisionError("second"), WorkerLost("third")]

    def fail(jobs: Sequence[Job], owner: str) -> None:
        raise errors.pop(0)

    bench.task.do = fail
    begun = time.time()
    bench.run_all(worker)
    assert bench.state(job_id) == "dead"
    with bench.store.read() as tx:
        first, second, third = service.attempts(tx, service.get(tx, bench.workspace_id, job_id))
    assert [a.number for a in (first, second, third)] == [1, 2, 3]
    assert [a.error["detail"] for a in (first, third)] == ["first", "third"]
    assert "ZeroDivisionError" in second.error["detail"]
    for attempt in (first, second, third):
        assert attempt.worker == worker.owner
        assert attempt.step == "step"
        assert begun - 1 < attempt.started_at <= attempt.ended_at <= time.time() + 1


def test_a_defect_is_tried_few_times_and_its_traceback_logged(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = bench.enqueue()
    bench.task.do = raising(ZeroDivisionError("oops"))
    bench.run_all(bench.worker())
    assert bench.history(job_id) == [("failed", "unexpected")] * MAX_ATTEMPTS
    output = capsys.readouterr()
    assert "ZeroDivisionError" in output.err + output.out


def test_what_killed_its_worker_each_time_tells_so(bench: Bench) -> None:
    job_id = bench.enqueue()
    for n in range(MAX_ATTEMPTS):
        assert bench.claim(f"killed {n}") == [job_id] or bench.claim_jobs(f"killed {n}", fresh=False)
        bench.expire_leases()
    bench.worker().run_once()
    assert bench.history(job_id) == [("lost", "worker-lost")] * MAX_ATTEMPTS
    assert (bench.state(job_id), bench.get(job_id).attempts) == ("dead", MAX_ATTEMPTS)
    assert bench.get(job_id).error["type"] == "urn:pegasus:problem:worker-lost"  # type: ignore[index]


def test_attempts_that_failed_for_other_reasons_are_no_crashes(bench: Bench) -> None:
    """Else a store that was away for long would bury a job that one restart interrupted."""
    job_id = bench.enqueue()
    bench.do(lambda tx: tx.execute("UPDATE jobs SET attempts = :n", {"n": MAX_ATTEMPTS + 1}))
    bench.claim_jobs("killed", fresh=False)
    bench.expire_leases()
    assert bench.worker().run_once()
    assert bench.state(job_id) == "succeeded"
    assert bench.get(job_id).crashes == 1


def test_what_went_well_leaves_no_history(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.worker().run_once()
    assert bench.history(job_id) == []


def test_all_dead_letters_of_a_kind_are_queued_again(bench: Bench) -> None:
    dead = [bench.enqueue(), bench.enqueue(kind="erase")]
    failed = bench.enqueue()
    other = bench.workspace()
    theirs = bench.enqueue(workspace_id=other)
    with bench.store.write() as tx:
        tx.execute("UPDATE jobs SET state = 'dead', attempts = 3, crashes = 2")
        tx.execute("UPDATE jobs SET state = 'failed' WHERE id = :id", {"id": failed})
    assert [job.id for job in bench.do(service.retry_dead, bench.workspace_id, "erase")] == [dead[1]]
    assert [job.id for job in bench.do(service.retry_dead, bench.workspace_id)] == [dead[0]]
    assert [(bench.state(id_), bench.get(id_).attempts, bench.get(id_).crashes) for id_ in dead] == [
        ("queued", 0, 0)
    ] * 2
    assert bench.state(failed) == "failed"
    with bench.store.read() as tx:
        assert service.get(tx, other, theirs).state is JobState.DEAD


class Full:
    """A store whose writes fail while ``is_full``."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        write = bench.store.write

        def checked(*rest: Any, **more: Any) -> Any:
            if self.is_full:
                raise Unavailable("The disk is full.")
            return write(*rest, **more)

        monkeypatch.setattr(bench.store, "write", checked)


def test_what_could_not_be_settled_is_settled_as_soon_as_it_can(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when its lease ends, a minute later, and then as a crash of its worker."""
    job_id = bench.enqueue()
    disk = Full(bench, monkeypatch)

    def fill_up(jobs: Sequence[Job], owner: str) -> None:
        disk.is_full = True
        raise Unavailable("The disk is full.")

    bench.task.do = fill_up
    worker = bench.worker()
    worker.run_once()
    for _ in range(3):
        with pytest.raises(Unavailable):
            worker.run_once()
    assert bench.state(job_id) == "running"
    disk.is_full = False
    bench.task.do = bench.task.succeed
    worker.run_once()
    assert bench.history(job_id) == [("failed", "unavailable")]
    bench.run_all(worker)
    assert bench.state(job_id) == "succeeded"


def test_a_job_that_was_cancelled_while_it_could_not_be_settled_stays_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.enqueue()
    disk = Full(bench, monkeypatch)

    def fill_up(jobs: Sequence[Job], owner: str) -> None:
        disk.is_full = True
        raise Invalid("broken")

    bench.task.do = fill_up
    worker = bench.worker()
    worker.run_once()
    disk.is_full = False
    bench.do(service.cancel, bench.workspace_id, job_id)
    worker.run_once()
    assert bench.state(job_id) == "cancelled"
    assert bench.task.given_up == []


def test_history_goes_with_its_job(bench: Bench) -> None:
    job_id = bench.enqueue()
    bench.task.do = raising(Invalid("broken"))
    bench.worker().run_once()
    assert bench.do(repository.delete_finished, "z", time.time() + 1, 10) == 1
    assert bench.do(lambda tx: tx.one("SELECT count(*) AS n FROM job_attempts"))["n"] == 0
    assert job_id
