"""Jobs on the server tier: how many a second go through rows and Celery, over Celery alone; and how soon one starts."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from bench import noop
from bench.harness import ROOT, Figure, Report, cpu_seconds, percentile
from bench.installation import installed, postgresql, redis_server, until
from pegasus.access import service as access
from pegasus.adapters.celery_queue import CeleryJobQueue
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.postgres_walls import EVERY_WORKSPACE
from pegasus.domain import Lane
from pegasus.jobs import service
from pegasus.jobs.dispatcher import Dispatcher
from pegasus.migrations import HEAD
from pegasus.store_urls import RedisAddress

_ROUNDS, _JOBS, _WARM = 5, 1_000, 100
_MOST_SECONDS, _SETTLING_SECONDS = 120, 1.0
_NOTES, _FIRST_NOTES, _PAUSE_SECONDS = 100, 10, 0.1


@dataclass(frozen=True)
class _Ways:
    """How a job that does nothing is submitted, each as a caller of its own would: one transaction, or one message."""

    submit: dict[str, Callable[[], object]]
    environment: dict[str, str]

    def run(self, way: str, count: int) -> tuple[float, float]:
        """(jobs a second from the first one's submission to the last one's end, CPU-µs a job here and at the worker)"""
        with self._worker(way, count) as worker:
            begun, here, there = time.perf_counter(), time.process_time(), cpu_seconds(worker.pid)
            for _ in range(count):
                self.submit[way]()
            _expect(worker, "done")
            took = time.perf_counter() - begun
            return count / took, (time.process_time() - here + cpu_seconds(worker.pid) - there) / count * 1e6

    @contextmanager
    def _worker(self, way: str, count: int) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "bench.noop", way, str(count)]
        with subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        ) as worker:  # fmt: skip
            late = threading.Timer(_MOST_SECONDS, worker.kill)
            late.start()
            try:
                _expect(worker, "ready")
                time.sleep(_SETTLING_SECONDS)  # Until it is connected, of which Celery says nothing.
                yield worker
            finally:
                late.cancel()
                worker.kill()


def _expect(worker: subprocess.Popen[str], word: str) -> None:
    line = worker.stdout.readline() if worker.stdout else ""
    if line != f"{word}\n":
        raise RuntimeError(f"the worker said {line!r} and not {word!r}")


def throughput() -> dict[str, list[tuple[float, float]]]:
    """Of each way jobs a second and CPU-µs a job in each round, the ways by turns."""
    with ExitStack() as stack:
        rows = stack.enter_context(postgresql.running())
        broker = stack.enter_context(redis_server.redis_server())
        ways = stack.enter_context(_ways(rows.url(rows.create()), broker.url))
        for way in ways.submit:
            ways.run(way, _WARM)
        rounds = [{way: ways.run(way, _JOBS) for way in ways.submit} for _ in range(_ROUNDS)]
    return {way: [one[way] for one in rounds] for way in rounds[0]}


@contextmanager
def _ways(database_url: str, redis_url: str) -> Iterator[_Ways]:
    relational = PostgresRelationalStore(database_url)
    relational.migrate(HEAD)
    with relational.write() as tx:
        workspace_id = access.ensure_workspace(tx)
    queue, app = CeleryJobQueue(RedisAddress.parse(redis_url)), noop.bare(redis_url)
    dispatcher = Dispatcher(queue)

    def through(lane: Lane) -> Callable[[], None]:
        def submit() -> None:
            with relational.write(workspace_id) as tx:
                service.enqueue(tx, workspace_id, noop.KIND, lane, "step")
            dispatcher.notify(lane)

        return submit

    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with dispatcher.running():
        yield _Ways(
            {"celery": lambda: app.send_task(noop.KIND), "index": through(Lane.INDEX), "read": through(Lane.READ)},
            environment,
        )
    queue.close()
    app.close()
    relational.close()


def latency() -> dict[str, list[float]]:
    """Milliseconds until the job of a note starts, one note at a time: since its request was sent, since its row was
    written. All is on one machine and its one clock."""
    with installed() as installation:
        api, *_ = installation.start("api", "worker", "scheduler")
        client, sent = api.client(), {}
        for number in range(_FIRST_NOTES + _NOTES):
            begun = time.time()
            body = {"title": f"Note {number}", "text": f"The harbour has {number} boats."}
            job = client.call("POST", "/v1/documents", json=body)["job"]["id"]
            sent[job] = begun
            until(lambda job=job: client.call("GET", f"/v1/jobs/{job}")["state"] == "succeeded", "its job is done")
            time.sleep(_PAUSE_SECONDS)
        times = {id_: (created, started) for id_, created, started in _job_times(installation.settings["DATABASE_URL"])}
    counted = list(sent)[_FIRST_NOTES:]
    return {
        "sent": [(times[job][1] - sent[job]) * 1000 for job in counted],
        "written": [(times[job][1] - times[job][0]) * 1000 for job in counted],
    }


def _job_times(database_url: str) -> list[Any]:
    with psycopg.connect(database_url) as connection:
        connection.execute(f"SET pegasus.workspace = '{EVERY_WORKSPACE}'")
        return connection.execute("SELECT id, created_at, started_at FROM jobs").fetchall()


def measure() -> Report:
    found, late = throughput(), latency()
    p50, p95 = percentile(late["sent"], 0.5), percentile(late["sent"], 0.95)
    row50, row95 = percentile(late["written"], 0.5), percentile(late["written"], 0.95)
    return Report([
        _figure(found, "index", "claimed in batches, as what is indexed is", 0.7),
        _figure(found, "read", "claimed one at a time, as files to read are", None),
        Figure(
            "submit to start when idle, since the request was sent, p50 / p95", f"{p50:.0f} / {p95:.0f} ms",
            "<= 30 / 100 ms", f"since its row was written {row50:.0f} / {row95:.0f} ms", p50 <= 30 and p95 <= 100,
        ),
    ])  # fmt: skip


def _figure(found: dict[str, list[tuple[float, float]]], lane: str, how: str, least: float | None) -> Figure:
    """The median of the rounds' ratios: within a round the machine is the same for both."""
    ratios = [ours[0] / floor[0] for ours, floor in zip(found[lane], found["celery"], strict=True)]
    ratio = statistics.median(ratios)
    (ours, cpu), (floor, floor_cpu) = (
        map(statistics.median, zip(*found[way], strict=True)) for way in (lane, "celery")
    )
    return Figure(
        f"jobs a second through rows and Celery over bare Celery, {how}", f"{ratio:.2f}",
        f">= {least}" if least else "stated",
        f"{ours:.0f} over {floor:.0f} a second; {cpu:.0f} over {floor_cpu:.0f} CPU-µs here and at the worker;"
        f" rounds {min(ratios):.2f} to {max(ratios):.2f}", ratio >= least if least else None,
    )  # fmt: skip
