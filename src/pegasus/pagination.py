"""Pages of a list: ids are UUIDv7, so the last id of a page is the cursor of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pegasus.errors import Invalid
from pegasus.identifiers import is_id


class HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_cursor: str | None


def page_of(rows: Sequence[T], limit: int) -> Page[T]:
    """A page from ``limit + 1`` rows: the extra row only tells that there is a next page."""
    items = rows[:limit]
    return Page(items, items[-1].id if len(rows) > limit else None)


def checked_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not is_id(cursor):
        raise Invalid(f"The cursor {cursor[:64]!r} is not one.", hint="Pass next_cursor of the page before, unchanged.")
    return cursor
