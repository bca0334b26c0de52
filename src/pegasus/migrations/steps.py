"""What a step of the schema is: data, so that it can be listed, judged and run without reading its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pegasus.migrations.statements import run

Phase = Literal["expand", "contract"]


@dataclass(frozen=True, slots=True)
class Backfill:
    """Rows of a table are given values a batch at a time, in the order of the key, beside whoever works with them.

    Each batch is a transaction that also notes how far it came, so that the next one, whoever runs it, goes on there.
    ``assignments`` and ``only`` are those of an UPDATE, in SQL that both databases know.
    """

    table: str
    key: str  # the primary key, of one column
    assignments: str
    only: str = "1 = 1"


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of work: statements, indexes or a backfill.

    An ``expand`` step adds what older code takes no notice of. A ``contract`` step takes away what newer code does not
    use any more: ``compatible_from`` names the oldest revision whose code did not use it either.
    """

    phase: Phase
    statements: Sequence[str] = ()  # In SQLite's words, for both databases, in one transaction
    sqlite: Sequence[str] = ()
    postgresql: Sequence[str] = ()
    indexes: Sequence[str] = ()  # CREATE INDEX; beside whoever writes, where the database can
    backfill: Backfill | None = None
    compatible_from: str | None = None
    accepts: Mapping[str, str] = field(default_factory=dict)  # Rules of ``lint`` that need not hold here, and why

    def run(self) -> None:
        """The statements, in the transaction that Alembic is in."""
        run(self.statements, sqlite=self.sqlite, postgresql=self.postgresql)


@dataclass(frozen=True, slots=True)
class Migration:
    """A step in its place."""

    revision: str
    down_revision: str | None
    title: str
    step: Step
    compatible_from: str  # the oldest revision whose code runs on the schema from here on
