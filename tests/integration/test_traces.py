"""Traces as a collector gets them over OTLP: of requests and of the jobs they ask for, and nothing of documents."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from servers import free_port

from pegasus.bootstrap import embedded, local_access
from pegasus.server import serving_in_background
from pegasus.settings import load_settings
from pegasus.telemetry import configure_logging

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
SECRET_TEXT = "The harbour master hides the lantern under the northern quay."
WAIT_SECONDS = 60


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self.raw: list[bytes] = []
        self.spans: list[Any] = []

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - gRPC's name
        with self._came:
            self.raw.append(request.SerializeToString())
            self.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
            self._came.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> Any:
        """The first span of this name, once it is here."""
        with self._came:
            found = self._came.wait_for(lambda: [s for s in self.spans if s.name == name], WAIT_SECONDS)
        assert found, f"{name} is not among {[span.name for span in self.spans]}"
        return found[0]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Collector, str]]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


@contextmanager
def traced(folder: Path, endpoint: str, ratio: float) -> Iterator[httpx.Client]:
    settings = load_settings(data=folder, embedder="hash", otlp_endpoint=endpoint, trace_ratio=ratio)
    with embedded(settings) as application, serving_in_background(application) as address:
        headers = {"X-API-Key": local_access(application, folder).key}
        with httpx.Client(base_url=address, headers=headers, timeout=60, verify=False) as http:
            yield http


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_a_trace_goes_through_the_request_into_its_job(
    tmp_path: Path, collector: tuple[Collector, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found, endpoint = collector
    configure_logging("debug", "json")
    try:
        with traced(tmp_path / "data", endpoint, 0) as http:
            key = http.headers["X-API-Key"]
            body = {"title": "Lantern", "text": SECRET_TEXT, "uri": "note://lantern"}
            added = http.post("/v1/documents", json=body, headers={"traceparent": SAMPLED})
            assert added.status_code == 202
            http.post("/v1/search", json={"query": "hidden lantern"}, headers={"traceparent": SAMPLED})
            request, job = found.named("POST /v1/documents"), found.named("job ingest embed")
            searched, stage = found.named("POST /v1/search"), found.named("search.semantic")
    finally:
        configure_logging("warning", "text")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(request) == {
        "http.request.method": "POST", "http.route": "/v1/documents", "http.response.status_code": 202
    }  # fmt: skip
    assert (job.trace_id, job.parent_span_id) == (request.trace_id, request.span_id)
    assert attributes(job)["pegasus.job.id"] == added.json()["job"]["id"]
    assert stage.parent_span_id == searched.span_id
    lines = [line for line in capsys.readouterr().err.splitlines() if "http.request" in line and TRACE in line]
    assert len(lines) == 2
    sent = b"".join(found.raw)
    for secret in (SECRET_TEXT, "Lantern", "lantern", "note://", key):
        assert secret.encode() not in sent


def test_only_the_ratio_is_traced_and_who_is_told_not_to_is_not(
    tmp_path: Path, collector: tuple[Collector, str]
) -> None:
    found, endpoint = collector
    with traced(tmp_path / "none", endpoint, 0) as http:
        assert http.get("/v1/documents").status_code == 200
        assert http.get("/v1/documents", headers={"traceparent": "00-not-a-trace-01"}).status_code == 200
    with traced(tmp_path / "all", endpoint, 1) as http:
        assert http.get("/v1/usage", headers={"traceparent": UNSAMPLED}).status_code == 200
        assert http.get("/v1/keys").status_code == 200
        assert found.named("GET /v1/keys").parent_span_id == b""
    # Closing has sent whatever was left.
    assert {span.name for span in found.spans} & {"GET /v1/documents", "GET /v1/usage"} == set()


def test_an_error_is_marked_without_its_message(tmp_path: Path, collector: tuple[Collector, str]) -> None:
    found, endpoint = collector
    with traced(tmp_path / "data", endpoint, 1) as http:
        assert http.get("/v1/documents/no-such-thing").status_code == 404
        missing = found.named("GET /v1/documents/{document_id}")
    assert attributes(missing)["http.response.status_code"] == 404
    assert b"no-such-thing" not in b"".join(found.raw)


def test_a_collector_that_is_away_harms_nothing(tmp_path: Path) -> None:
    with traced(tmp_path / "data", f"http://127.0.0.1:{free_port()}", 1) as http:
        for _ in range(5):
            assert http.get("/v1/documents").status_code == 200
