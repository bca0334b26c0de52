"""Row-level security: a transaction for one workspace neither sees nor takes rows of another, whatever its SQL says.

The workspace stands in a setting that lives as long as the transaction. Where it is not set, no row is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pegasus.ports import Row, Table

EVERY_WORKSPACE = "*"

_POLICY = "of_one_workspace"
# In a query of its own it is looked up once and not for each row.
_CHOSEN = "(SELECT current_setting('pegasus.workspace', true))"


class _Catalogue(Protocol):
    def all(self, sql: str) -> Sequence[Row]: ...


def wall_statements(tx: _Catalogue, tables: Sequence[Table]) -> Iterator[str]:
    """What is still to be done so that each table with rows of workspaces is behind the wall.

    Tables are found by their columns and references, not listed, so that a new one cannot be forgotten. Not behind it
    are ``words``, whose index could not be used, and ``word_frequencies``: terms begin with a number that only
    ``word_counts`` tells.
    """
    done = {
        row["name"]
        for row in tx.all(
            f"SELECT tablename AS name FROM pg_policies"
            f" WHERE policyname = '{_POLICY}' AND schemaname = current_schema()"
        )
    }
    conditions = {"word_counts": (_named("workspace_id"), _named("workspace_id")), **_conditions(tables)}
    for table, (seen, taken) in conditions.items():
        if table not in done:
            yield f"CREATE POLICY {_POLICY} ON {table} USING ({seen}) WITH CHECK ({taken})"
            yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
            yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"  # For their owner, too, which Pegasus may be.


def _conditions(tables: Sequence[Table]) -> Mapping[str, tuple[str, str]]:
    """By table, which rows are seen, and which may be written."""
    conditions: dict[str, tuple[str, str]] = {}
    for table in tables:
        if table.name == "workspaces" or "workspace_id" in table.columns:
            own = _named("id" if table.name == "workspaces" else "workspace_id")
            conditions[table.name] = own, own
            continue
        # Rows that refer to such rows: they are seen where those are.
        ends = [
            f"EXISTS (SELECT 1 FROM {other} o WHERE o.{key} = {table.name}.{column})"
            for column, other, key in table.references
            if other in conditions
        ]
        if ends:
            every = f"{_CHOSEN} = '{EVERY_WORKSPACE}'"
            # One end tells whose a row is; what is written has to have both there.
            conditions[table.name] = f"{every} OR {ends[0]}", f"{every} OR ({' AND '.join(ends)})"
    return conditions


def _named(column: str) -> str:
    return f"{_CHOSEN} IN ('{EVERY_WORKSPACE}', {column})"
