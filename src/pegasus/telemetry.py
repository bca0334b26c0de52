"""Logs: constant event names with keys, to stderr, as text for people or JSON for machines."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from pegasus.text.lines import visible


class _StderrLogger:
    """Writes lines to stderr, and goes on where that cannot be: a full disk under a log must not stop the work."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(message + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = log = msg


def _made_visible(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values come from requests and documents, too; a line break is left, as the renderer quotes what has one."""
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}


def _indented_traceback(stream: TextIO, exception: structlog.typing.ExcInfo) -> None:
    """Without the values of local variables, which may be somebody's documents; and indented, so that a message of
    several lines cannot pass for lines of the log."""
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exception)
    stream.write(_indented(plain.getvalue()))


def _indented(text: str) -> str:
    return visible(text).replace("\n", "\n    ")


class _IndentedFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _indented(super().format(record))


def configure_logging(level: str, log_format: str) -> None:
    """Set up structlog and route the standard library's warnings through the same output."""
    number = logging.getLevelNamesMapping()[level.upper()]
    json_lines = log_format == "json"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_JSON if json_lines else _text()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _StderrLogger(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_IndentedFormatter("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def current_request_id() -> str | None:
    """The id of the request that this is done for, as its answer and its line in the log have it."""
    request_id: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return request_id


def _dumped(value: Any, **options: Any) -> str:
    return visible(json.dumps(value, **options))


_JSON = (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumped))


def _text() -> tuple[structlog.typing.Processor, ...]:
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_indented_traceback)
    return _made_visible, renderer
