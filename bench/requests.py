"""What a request costs on the server tier: CPU time of the server for reading a document, over that of the floor."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bench.harness import ROOT, Figure, Report, cpu_seconds
from bench.load import load, request_of
from tests import postgresql, servers

_DOCUMENTS, _CONNECTIONS, _ROUNDS, _REQUESTS, _WARM = 20, 16, 5, 3_000, 600
_START_SECONDS = 120


@dataclass(frozen=True)
class _Server:
    process: int
    port: int
    requests: list[bytes]

    def microseconds(self, count: int) -> float:
        """CPU time of the server for each of so many requests."""
        before = cpu_seconds(self.process)
        answers = load(self.port, self.requests, connections=_CONNECTIONS, count=count)
        if answers.statuses != {"200": count}:
            raise RuntimeError(f"not all were answered: {answers.statuses}")
        return (cpu_seconds(self.process) - before) / count * 1e6


class _Sink(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that counts."""

    spans = 0

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - gRPC's name
        self.spans += sum(len(scope.spans) for some in request.resource_spans for scope in some.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


def costs() -> dict[str, list[float]]:
    """CPU-µs a request of each round, the servers by turns."""
    with ExitStack() as stack:
        rows = stack.enter_context(postgresql.running())
        sink, endpoint = stack.enter_context(_collector())
        off = stack.enter_context(_pegasus(rows.url(rows.create())))
        on = stack.enter_context(_pegasus(rows.url(rows.create()), OTEL_EXPORTER_OTLP_ENDPOINT=endpoint))
        ids = [request.split(b" ")[1].rpartition(b"/")[2].decode() for request in off.requests]
        floor = stack.enter_context(_floor(rows.url("test_0"), ids))
        compared = {"floor": floor, "off": off, "on": on}
        for server in compared.values():
            server.microseconds(_WARM)
        rounds = [{name: server.microseconds(_REQUESTS) for name, server in compared.items()} for _ in range(_ROUNDS)]
        if not sink.spans:
            raise RuntimeError("no span came to the collector")
    return {name: [one[name] for one in rounds] for name in compared}


@contextmanager
def _collector() -> Iterator[tuple[_Sink, str]]:
    sink, server = _Sink(), grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield sink, f"http://127.0.0.1:{port}"
    server.stop(0)


@contextmanager
def _pegasus(url: str, **settings: str) -> Iterator[_Server]:
    """With keys, limits and a line in the log for each request."""
    port = servers.free_port()
    with tempfile.TemporaryDirectory(prefix="pegasus-bench-") as folder, Path(os.devnull).open("wb") as log:
        environment = {
            **os.environ, "DATABASE_URL": url, "PEGASUS_DATA": folder, "PEGASUS_PORT": str(port),
            "PEGASUS_EMBEDDER": "hash", "PEGASUS_RATE_LIMIT": "1000000/second", "PEGASUS_LOG_LEVEL": "debug",
            "PEGASUS_LOG_FORMAT": "json", **settings,
        }  # fmt: skip
        command = [str(Path(sys.executable).with_name("pegasus")), "up"]
        with _running(command, environment, port, log) as process:
            key = Path(folder, "key").read_text().strip()
            ids = [_add(port, key, number) for number in range(_DOCUMENTS)]
            yield _Server(process, port, [request_of("GET", f"/v1/documents/{id_}", key) for id_ in ids])


def _add(port: int, key: str, number: int) -> str:
    body = json.dumps({"title": f"Note {number}", "text": f"The harbour has {number} boats.", "tags": ["a", "b"]})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/documents", body.encode(), {"X-API-Key": key, "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["document"]["id"])


@contextmanager
def _floor(url: str, ids: list[str]) -> Iterator[_Server]:
    port = servers.free_port()
    command = [sys.executable, "-m", "bench.floor", str(port)]
    with _running(command, {**os.environ, "DATABASE_URL": url}, port, subprocess.DEVNULL) as process:
        yield _Server(process, port, [request_of("GET", f"/{id_}") for id_ in ids])


@contextmanager
def _running(command: list[str], environment: dict[str, str], port: int, log: Any) -> Iterator[int]:
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process:
        try:
            _wait_for(process, port)
            yield process.pid
        finally:
            process.terminate()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=10) as answer:
                answer.read()
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)


def measure() -> Report:
    found = costs()
    return Report([
        _figure(found, "on", "with 5 % of traces", 2.0),
        _figure(found, "off", "without traces", 1.4),
    ])  # fmt: skip


def _figure(found: dict[str, list[float]], which: str, how: str, most: float) -> Figure:
    """The median of the rounds' ratios: within a round the machine is the same for both."""
    ratios = [ours / floor for ours, floor in zip(found[which], found["floor"], strict=True)]
    ratio = statistics.median(ratios)
    ours, floor = statistics.median(found[which]), statistics.median(found["floor"])
    return Figure(
        f"GET /v1/documents/{{id}} with key, limits and access log, {how}: CPU over FastAPI and psycopg alone",
        f"{ratio:.2f}", f"<= {most}",
        f"{ours:.0f} over {floor:.0f} µs; rounds {min(ratios):.2f} to {max(ratios):.2f}", ratio <= most,
    )  # fmt: skip
