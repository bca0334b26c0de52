"""Logs: constant event names with keys, to stderr, as text for people or JSON for machines."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

import structlog


class _StderrLogger:
    """Writes lines to stderr, and goes on where that cannot be: a full disk under a log must not stop the work."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(message + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = log = msg


def configure_logging(level: str, log_format: str) -> None:
    """Set up structlog and route the standard library's warnings through the same output."""
    number = logging.getLevelNamesMapping()[level.upper()]
    json_lines = log_format == "json"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if json_lines else []),
            structlog.processors.JSONRenderer()
            if json_lines
            # Without the values of local variables, which may be somebody's documents.
            else structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _StderrLogger(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def current_request_id() -> str | None:
    """The id of the request that this is done for, as its answer and its line in the log have it."""
    request_id: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return request_id
