"""How the steps of the schema are taken in a SQLite file, and what its schema is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from pegasus.migrations import BOOKKEEPING, runner
from pegasus.migrations.drift import Catalogue, differences, flat
from pegasus.ports import Progress, SchemaState

_LOCK_SECONDS = 10


class SqliteSchema:
    def __init__(self, path: Path, schema: Callable[[], SchemaState]) -> None:
        self._engine = _engine(f"sqlite:///{path}")
        self.schema = schema

    def bring_forward(self, revision: str, progress: Progress) -> None:
        runner.bring_forward(self, revision, progress)

    def alone(self) -> nullcontext[None]:
        """There is one writer at a time, and each transaction looks where it has come to."""
        return nullcontext()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def settle(self, _connection: Connection) -> None:
        """Nothing is to be seen to."""

    def make_index(self, statement: str) -> None:
        """A file of one process' size: everybody waits for a moment."""
        with self.begin() as connection:
            connection.exec_driver_sql(statement.replace("INDEX", "INDEX IF NOT EXISTS", 1))

    def is_busy(self, error: BaseException | None) -> bool:
        return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
        )

    def drift(self) -> list[str]:
        schema = self.schema()
        if schema.revision is None:
            return []
        fresh = _engine("sqlite://")
        try:
            with fresh.begin() as made:
                runner.build(made, schema.revision)
                expected = _catalogue(made)
        finally:
            fresh.dispose()
        with self.begin() as connection:
            return list(differences(_catalogue(connection), expected))

    def close(self) -> None:
        self._engine.dispose()


def _engine(url: str) -> Engine:
    # The driver would commit each change of the schema by itself, and a kill leave half of them.
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": _LOCK_SECONDS})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    # What a backfill overwrites is gone, as with every other change.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA secure_delete=ON"))
    return engine


def _catalogue(connection: Connection) -> Catalogue:
    # Indexes of words are made for each workspace; those are no ordinary tables.
    tables = _all(
        connection,
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    found: dict[tuple[str, str], str] = {}
    for (table,) in tables:
        if table in BOOKKEEPING:
            continue
        found[table, ""] = ""
        for name, kind, required, default, key in _all(
            connection, 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', table
        ):
            found[table, f"column {name}"] = flat(
                f"{kind} {'NOT NULL' if required else ''} {f'DEFAULT {default}' if default else ''}"
                f" {f'PRIMARY KEY {key}' if key else ''}"
            )
        for column, other, to, deletes in _all(
            connection, 'SELECT "from", "table", "to", on_delete FROM pragma_foreign_key_list(?)', table
        ):
            found[table, f"foreign key {column}"] = f"REFERENCES {other}({to}) ON DELETE {deletes}"
        for name, definition in _all(
            connection, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", table
        ):
            found[table, f"trigger {name}"] = flat(definition)
        for name, definition in _all(
            connection,
            "SELECT l.name, coalesce(m.sql, l.origin || ' of ' || (SELECT group_concat(name) FROM"
            " pragma_index_info(l.name))) FROM pragma_index_list(?) l LEFT JOIN sqlite_master m ON m.name = l.name",
            table,
        ):
            found[table, f"index {name}"] = flat(definition).replace(" IF NOT EXISTS ", " ")
    return found


def _all(connection: Connection, sql: str, *parameters: str) -> list[Any]:
    return list(connection.exec_driver_sql(sql, parameters).all())
