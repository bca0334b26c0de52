"""The error families: what went wrong, in terms that every edge (HTTP, CLI, worker) can report truthfully."""

from __future__ import annotations

from typing import Any, ClassVar


class PegasusError(Exception):
    """Root of every expected failure.

    ``code`` is stable and ends the ``type`` of a problem document; ``hint`` is the next step for a person.
    A retryable error may succeed when the same work is done again later.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def problem(self) -> dict[str, Any]:
        """As RFC 9457 wants it; the same form stands in a job's row, an HTTP answer and the CLI's JSON."""
        return {
            "type": f"urn:pegasus:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **({"hint": self.hint} if self.hint else {}),
        }


class NotFound(PegasusError):
    code, title, status = "not-found", "Not found", 404


class Conflict(PegasusError):
    code, title, status = "conflict", "Conflict", 409


class Invalid(PegasusError):
    code, title, status, exit_code = "invalid", "Invalid input", 422, 2


class Unauthorized(PegasusError):
    code, title, status = "unauthorized", "Not authenticated", 401


class TooLarge(PegasusError):
    code, title, status = "too-large", "Too large", 413


class UnsupportedFormat(Invalid):
    code, title, status = "unsupported-format", "Unsupported format", 415


class Unreadable(Invalid):
    """The content is of a known format, but no text can be had from it: broken, encrypted, empty."""

    code, title = "unreadable", "Unreadable content"


class Unavailable(PegasusError):
    """A dependency does not answer now; the same request may succeed later."""

    code, title, status, retryable = "unavailable", "Temporarily unavailable", 503, True


class Misconfigured(PegasusError):
    code, title, exit_code = "misconfigured", "Misconfigured", 2
