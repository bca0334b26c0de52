"""Adds up what a workspace holds, for its own people, and what the installation does, for those who run it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from pegasus import metrics
from pegasus.documents import service as documents
from pegasus.documents.service import Holdings
from pegasus.domain import JobState, Lane
from pegasus.errors import PegasusError
from pegasus.ingestion import service as ingestion
from pegasus.ingestion.service import IndexSize
from pegasus.jobs import service as jobs
from pegasus.ports import JobQueue, QueueLength, RelationalStore, Transaction


@dataclass(frozen=True, slots=True)
class Usage:
    documents: Holdings
    index: IndexSize
    jobs: Mapping[JobState, int]
    oldest_waiting_seconds: float | None


def usage(tx: Transaction, workspace_id: str) -> Usage:
    """What one workspace holds and waits for."""
    return Usage(
        documents.holdings(tx, workspace_id),
        ingestion.index_size(tx, workspace_id),
        jobs.count_by_state(tx, workspace_id),
        jobs.oldest_waiting_seconds(tx, workspace_id),
    )


def exposition(
    relational: RelationalStore, checks: Mapping[str, Callable[[], None]], queue: JobQueue | None = None
) -> bytes:
    """Everything that is measured, as Prometheus reads it."""
    return metrics.exposition(_gauges(relational, checks, queue))


def _gauges(
    relational: RelationalStore, checks: Mapping[str, Callable[[], None]], queue: JobQueue | None
) -> Iterator[Metric]:
    ready = {name: float(_answers(check)) for name, check in checks.items()}
    yield metrics.gauge("pegasus_ready", "1 where a part answers, 0 where it does not", ("part",), _labelled(ready))
    try:
        with relational.read() as tx:
            now = time.time()
            queues, dead, due = jobs.queue_lengths(tx, now), jobs.count_dead(tx), jobs.count_due(tx, now)
    except PegasusError:  # The gauge above says so; the rest is worth having all the same.
        return
    yield metrics.gauge(
        "pegasus_jobs",
        "Jobs in a lane that are queued, that wait for another try, or that run",
        ("lane", "state"),
        [((lane, state), float(n)) for lane, state, n, _ in queues],
    )
    yield metrics.gauge(
        "pegasus_jobs_oldest_seconds",
        "For how long the oldest of them has been due or running; 0 while it waits for its next try",
        ("lane", "state"),
        [((lane, state), seconds) for lane, state, _, seconds in queues],
    )
    yield metrics.gauge("pegasus_jobs_dead_letters", "Jobs whose attempts are spent", (), [((), float(dead))])

    if queue:
        yield from _depths(queue, due)


def _depths(queue: JobQueue, due: Mapping[Lane, int]) -> Iterator[Metric]:
    """What waits for workers: messages wherever the broker has them, and due jobs that there is no message for."""
    lengths: Mapping[str, QueueLength] = {}
    with suppress(PegasusError):  # It is away: then whatever is due waits in the outbox.
        lengths = queue.lengths(list(Lane))
    messages = {lane: (at.waiting + at.unacknowledged) if (at := lengths.get(lane)) else 0 for lane in Lane}
    yield metrics.gauge(
        "pegasus_queue_reachable", "1 where the broker answers, 0 where it does not", (), [((), float(bool(lengths)))]
    )
    yield metrics.gauge(
        "pegasus_queue_messages",
        "Messages with the broker: waiting, handed out but not confirmed, and of these such as wait for their time",
        ("lane", "state"),
        [
            ((lane, state), float(getattr(length, state)))
            for lane, length in lengths.items()
            for state in ("waiting", "unacknowledged", "scheduled")
        ],
    )
    yield metrics.gauge(
        "pegasus_queue_outbox",
        "Due jobs beyond the messages that there are",
        ("lane",),
        [((lane,), float(max(0, due[lane] - messages[lane]))) for lane in Lane],
    )
    yield metrics.gauge(
        "pegasus_queue_depth",
        "What waits for workers in all: messages and outbox",
        ("lane",),
        [((lane,), float(max(due[lane], messages[lane]))) for lane in Lane],
    )


def _answers(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001 - whatever it is, the part does not answer, and that is the measurement.
        return False
    return True


def _labelled(values: Mapping[str, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    return (((name,), value) for name, value in values.items())
