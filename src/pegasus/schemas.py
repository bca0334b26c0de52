"""Forms that several features' requests and responses share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")

Cursor = Annotated[
    str | None, Field(description="next_cursor of the page before", json_schema_extra={"format": "uuid"})
]
Sha256 = Annotated[str, Field(description="64 lowercase hexadecimal digits", pattern="^[0-9a-f]{64}$")]


def _written_out(value: Any) -> Any:
    """A number is refused: whether it counts seconds or milliseconds would be a guess."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.lstrip("+-").replace(".", "", 1).isdigit()):
        raise ValueError("a time is written as 2026-01-31T12:00:00Z, not as a number")
    return value


Moment = Annotated[datetime, BeforeValidator(_written_out)]


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PageOf(Schema, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last one.")


class Problem(BaseModel):
    """RFC 9457. `type` is stable; `hint` is the next step."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:pegasus:problem:not-found",
                "title": "Not found",
                "status": 404,
                "detail": "There is no document 0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1.",
                "hint": "List the documents with GET /v1/documents.",
            }
        },
    )

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = None


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def seconds_of(moment: datetime | None) -> float | None:
    """Seconds since the epoch; a time without a zone is taken as UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
