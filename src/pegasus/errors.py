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
    retry_after_seconds: int = 1  # Where retryable

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
    """What was asked for does not exist, or belongs to another workspace."""

    code, title, status = "not-found", "Not found", 404


class Conflict(PegasusError):
    """The present state does not allow it; look at the state before trying again."""

    code, title, status = "conflict", "Conflict", 409


class Invalid(PegasusError):
    """The input is not what is asked for; the detail names the first thing that is wrong."""

    code, title, status, exit_code = "invalid", "Invalid input", 422, 2


class Unauthorized(PegasusError):
    """There is no key, or it opens nothing."""

    code, title, status = "unauthorized", "Not authenticated", 401


class Forbidden(PegasusError):
    """The key is known, but its scope does not allow it."""

    code, title, status = "forbidden", "Not allowed", 403


class Misdirected(PegasusError):
    """The request was sent to a name that this server does not go by; the hint names the setting."""

    code, title, status = "misdirected", "Not a name of this server", 421


class TooLarge(PegasusError):
    """More than a limit allows; the hint names the setting."""

    code, title, status = "too-large", "Too large", 413


class TooSlow(PegasusError):
    """The sender of a request fell silent in the middle of it."""

    code, title, status = "too-slow", "Too slow", 408


class UnsupportedFormat(Invalid):
    """Pegasus does not read such files, or the name promises another content."""

    code, title, status = "unsupported-format", "Unsupported format", 415


class Unreadable(Invalid):
    """The content is of a known format, but no text can be had from it: broken, encrypted, empty."""

    code, title = "unreadable", "Unreadable content"


class Unavailable(PegasusError):
    """A dependency does not answer now; the same request may succeed later."""

    code, title, status, retryable = "unavailable", "Temporarily unavailable", 503, True


class TooManyRequests(PegasusError):
    """More requests than the rate allows; `Retry-After` tells when there is room again."""

    code, title, status, retryable = "too-many-requests", "Too many requests", 429, True

    def __init__(self, detail: str, *, hint: str | None = None, retry_after_seconds: int) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class TimedOut(Unavailable):
    """A step of a job, or a store's answer, took longer than its limit."""

    code, title = "timed-out", "Timed out"


class WorkerLost(PegasusError):
    """The worker ended, or was taken for dead, before it said what became of the job."""

    code, title, retryable = "worker-lost", "Worker lost", True


class Unexpected(PegasusError):
    """A defect of Pegasus itself; the log has the traceback."""

    code, title, retryable = "unexpected", "Unexpected error", True


class Misconfigured(PegasusError):
    """A setting or the installation is wrong; nothing works until it is mended."""

    code, title, exit_code = "misconfigured", "Misconfigured", 2
