"""Traces: what a request or a job took its time for, sent to a collector over OTLP.

Thinner than OpenTelemetry's own instrumentation, which costs more than a request: what is not sampled makes no span,
and without a collector nothing of OpenTelemetry is even imported. Spans have names, routes, kinds and ids of jobs;
nothing of documents, queries or keys, and of an error only its type.
"""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pegasus import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer

# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may have more after the flags.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1
_EXPORT_SECONDS, _LAST_EXPORT_SECONDS = 5, 2.0


class _Tracing:
    """The process's own. Not OpenTelemetry's global provider: FastAPI would add its instrumentation to that."""

    tracer: Tracer | None = None
    ratio = 0.0


_span: ContextVar[Span | None] = ContextVar("span", default=None)


def start(endpoint: str, ratio: float) -> Callable[[], None]:
    """Send this share of what begins here, and all that comes sampled, to a collector that speaks OTLP over gRPC; the
    function that ends it. A collector that does not answer costs a queue of bounded length, and loses spans."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    name = os.environ.get("OTEL_SERVICE_NAME", "pegasus")
    resource = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint, insecure=urlsplit(endpoint).scheme == "http", timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("pegasus", __version__)
    _Tracing.tracer, _Tracing.ratio = tracer, ratio

    def stop() -> None:
        if _Tracing.tracer is tracer:
            _Tracing.tracer = None
        # A collector that is away must not hold up the end of the process.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_EXPORT_SECONDS)

    return stop


@contextmanager
def root(
    name: str, kind: str, traceparents: Sequence[str | None], attributes: Mapping[str, str | int] = {}
) -> Iterator[Span | None]:
    """The span that something begins with, or None where it is not sampled. ``kind`` is "server" or "consumer".

    It continues the first of the traces that it comes from and is linked to the others; when it comes from none, the
    ratio decides.
    """
    tracer = _Tracing.tracer
    if tracer is None:
        yield None
        return
    given = [parsed for parsed in map(_parsed, traceparents) if parsed]
    sampled = [parsed for parsed in given if parsed.trace_flags & _SAMPLED]
    if not sampled and (given or random.random() >= _Tracing.ratio):
        yield None
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context

    before = set_span_in_context(NonRecordingSpan(sampled[0]), Context()) if sampled else Context()
    links = [Link(other) for other in sampled[1:]]
    started = tracer.start_span(name, before, SpanKind[kind.upper()], attributes, links)
    with _current(started):
        yield started


@contextmanager
def span(name: str) -> Iterator[None]:
    """A part of the span that is open; nothing where none is."""
    above, tracer = _span.get(), _Tracing.tracer
    if above is None or tracer is None:
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    with _current(tracer.start_span(name, set_span_in_context(above, Context()))):
        yield


@contextmanager
def _current(opened: Span) -> Iterator[None]:
    token = _span.set(opened)
    try:
        yield
    except BaseException as error:
        fail(opened, type(error).__name__)
        raise
    finally:
        _span.reset(token)
        opened.end()


def fail(failed: Span, reason: str) -> None:
    """Mark a span; the reason is a name, never a message, which may quote a document."""
    from opentelemetry.trace import StatusCode

    failed.set_attribute("error.type", reason)
    failed.set_status(StatusCode.ERROR)


def traceparent() -> str | None:
    """Of the open span, for what continues it elsewhere."""
    opened = _span.get()
    if opened is None:
        return None
    context = opened.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{_SAMPLED:02x}"


def trace_id_of(opened: Span) -> str:
    return f"{opened.get_span_context().trace_id:032x}"


def _parsed(value: str | None) -> SpanContext | None:
    found = _TRACEPARENT.fullmatch(value) if value else None
    if not found:
        return None
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
