"""What this process measures of itself, for Prometheus; nothing here names a workspace or counts by one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)

# One of our own: the library's default one has what other libraries put there.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

JOBS_ENDED = Counter(
    "pegasus_jobs_ended",
    "Jobs and attempts by how they ended: succeeded, failed, dead, retried (again later), lost (no answer)",
    ["kind", "outcome"],
    registry=REGISTRY,
)
STEP_SECONDS = Histogram(
    "pegasus_job_step_seconds",
    "How long a worker was busy with one step of one job, or of several together",
    ["kind", "step"],
    buckets=_SLOW,
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "pegasus_http_request_seconds",
    "Requests by route and status, to the last byte of the answer",
    ["method", "route", "status"],
    buckets=_QUICK,
    registry=REGISTRY,
)
SEARCH_SECONDS = Histogram(
    "pegasus_search_stage_seconds",
    "Stages of searches: lexical, graph, semantic, and assembling what they found",
    ["stage"],
    buckets=_QUICK,
    registry=REGISTRY,
)
_CACHE_CALLS = Counter(
    "pegasus_cache_calls",
    "Calls to Redis: answered; failed, so that it is taken for away; skipped, as it is away",
    ["outcome"],
    registry=REGISTRY,
)
CACHE_CALLS_ANSWERED, CACHE_CALLS_FAILED, CACHE_CALLS_SKIPPED = map(
    _CACHE_CALLS.labels, ("answered", "failed", "skipped")
)
_QUESTIONS = Counter(
    "pegasus_question_vectors",
    "Questions whose vector the cache had (hit) or that were embedded (miss)",
    ["outcome"],
    registry=REGISTRY,
)
QUESTION_HITS, QUESTION_MISSES = map(_QUESTIONS.labels, ("hit", "miss"))


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - begun)


class _Scrape(CollectorRegistry):
    """The registry, and gauges that were read from the stores a moment ago."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        super().__init__()
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from self._gauges


def gauge(
    name: str, description: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    made = GaugeMetricFamily(name, description, labels=labels)
    for names, value in values:
        made.add_metric(names, value)
    return made


def exposition(gauges: Iterable[Metric]) -> bytes:
    """All of it in the text format of Prometheus."""
    return generate_latest(_Scrape(gauges))
