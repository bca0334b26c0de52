"""Traces as a collector gets them over OTLP: of requests and of the jobs they ask for, and nothing of documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from collector import Collector, collecting
from servers import free_port

from pegasus.bootstrap import embedded, local_access
from pegasus.server import serving_in_background
from pegasus.settings import load_settings
from pegasus.telemetry import configure_logging

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
SECRET_TEXT = "The harbour master hides the lantern under the northern quay."


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with collecting() as collector:
        yield collector


@contextmanager
def traced(folder: Path, endpoint: str, ratio: float) -> Iterator[httpx.Client]:
    settings = load_settings(data=folder, embedder="hash", otlp_endpoint=endpoint, trace_ratio=ratio)
    with embedded(settings) as application, serving_in_background(application) as address:
        headers = {"X-API-Key": local_access(application, folder).key}
        with httpx.Client(base_url=address, headers=headers, timeout=60, verify=False) as http:
            yield http


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def above(span: Any, collector: Collector) -> list[bytes]:
    """The ids of the spans that it is part of, nearest first: between a job and its request may be the statement's."""
    parents = {one.span_id: one.parent_span_id for one in collector.spans}
    found = [span.parent_span_id]
    while found[-1] in parents:
        found.append(parents[found[-1]])
    return found


def test_a_trace_goes_through_the_request_into_its_job(
    tmp_path: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("debug", "json")
    with traced(tmp_path / "data", collector.endpoint, 0) as http:
        key = http.headers["X-API-Key"]
        body = {"title": "Lantern", "text": SECRET_TEXT, "uri": "note://lantern"}
        added = http.post("/v1/documents", json=body, headers={"traceparent": SAMPLED})
        assert added.status_code == 202
        http.post("/v1/search", json={"query": "hidden lantern"}, headers={"traceparent": SAMPLED})
        request, job = collector.named("POST /v1/documents"), collector.named("job ingest embed")
        searched, stage = collector.named("POST /v1/search"), collector.named("search.semantic")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(request) == {
        "http.request.method": "POST", "http.route": "/v1/documents", "http.response.status_code": 202
    }  # fmt: skip
    assert job.trace_id == request.trace_id
    assert request.span_id in above(job, collector)
    assert attributes(job)["pegasus.job.id"] == added.json()["job"]["id"]
    assert stage.parent_span_id == searched.span_id
    lines = [line for line in capsys.readouterr().err.splitlines() if "http.request" in line and TRACE in line]
    assert len(lines) == 2
    sent = b"".join(collector.raw)
    for secret in (SECRET_TEXT, "Lantern", "lantern", "note://", key):
        assert secret.encode() not in sent


def test_only_the_ratio_is_traced_and_who_is_told_not_to_is_not(tmp_path: Path, collector: Collector) -> None:
    with traced(tmp_path / "none", collector.endpoint, 0) as http:
        assert http.get("/v1/documents").status_code == 200
        assert http.get("/v1/documents", headers={"traceparent": "00-not-a-trace-01"}).status_code == 200
    with traced(tmp_path / "all", collector.endpoint, 1) as http:
        assert http.get("/v1/usage", headers={"traceparent": UNSAMPLED}).status_code == 200
        assert http.get("/v1/keys").status_code == 200
        assert collector.named("GET /v1/keys").parent_span_id == b""
    # Closing has sent whatever was left.
    assert {span.name for span in collector.spans} & {"GET /v1/documents", "GET /v1/usage"} == set()


def test_an_error_is_marked_without_its_message(tmp_path: Path, collector: Collector) -> None:
    with traced(tmp_path / "data", collector.endpoint, 1) as http:
        assert http.get("/v1/documents/no-such-thing").status_code == 404
        missing = collector.named("GET /v1/documents/{document_id}")
    assert attributes(missing)["http.response.status_code"] == 404
    assert b"no-such-thing" not in b"".join(collector.raw)


def test_a_collector_that_is_away_harms_nothing(tmp_path: Path) -> None:
    with traced(tmp_path / "data", f"http://127.0.0.1:{free_port()}", 1) as http:
        for _ in range(5):
            assert http.get("/v1/documents").status_code == 200
