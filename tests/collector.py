"""A collector of traces over OTLP, which keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

WAIT_SECONDS = 60


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self._came = threading.Condition()
        self.endpoint = ""
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


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()
