"""How the steps of the schema are taken in PostgreSQL beside those who work with it, and what its schema is."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import ProgrammingError

from pegasus.adapters.postgres_walls import EVERY_WORKSPACE
from pegasus.errors import Misconfigured, Unavailable
from pegasus.identifiers import new_id
from pegasus.migrations import BOOKKEEPING, runner
from pegasus.migrations.drift import Catalogue, differences, flat
from pegasus.ports import Progress, SchemaState

# For those who take steps, for a step's locks, for its statements; an index of a large table takes its time, but keeps
# nobody waiting.
_WAIT_SECONDS, _LOCK_SECONDS, _STATEMENT_SECONDS, _INDEX_SECONDS = 300, 3, 120, 6 * 3_600
_LOCK = 7_345_001  # Any number that is nobody else's in this database.
_INDEX = re.compile(r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(\w+)")


class PostgresSchema:
    """``raise_walls`` sees to row-level security."""

    def __init__(
        self, address: str, schema: Callable[[], SchemaState], raise_walls: Callable[[psycopg.Connection[Any]], None]
    ) -> None:
        self._address = address
        self._engine = create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(address), pool_size=1, max_overflow=0
        )
        self.schema = schema
        self._raise_walls = raise_walls
        self._holder: psycopg.Connection[Any] | None = None

    def bring_forward(self, revision: str, progress: Progress) -> None:
        runner.bring_forward(self, revision, progress)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A lock that lives as long as a transaction of its own, in which nothing happens: steps that make indexes or
        go in batches have many, and a lock of the session would not survive PgBouncer."""
        with psycopg.connect(self._address) as holder:
            # With a snapshot it would keep indexes from being finished.
            holder.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            holder.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            holder.execute(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'")
            try:
                holder.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            except errors.LockNotAvailable as error:
                raise Unavailable(
                    f"Another has been changing the schema for {_WAIT_SECONDS} seconds.",
                    hint="Let it finish; pegasus schema current tells how far it has come.",
                ) from error
            self._holder = holder
            try:
                yield
            finally:
                self._holder = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        if self._holder:
            self._holder.execute("SELECT 1")  # Who has lost the lock must not go on.
        with self._engine.begin() as connection:
            for setting, value in (
                ("lock_timeout", f"{_LOCK_SECONDS}s"),
                ("statement_timeout", f"{_STATEMENT_SECONDS}s"),
                ("pegasus.workspace", EVERY_WORKSPACE),
            ):
                connection.exec_driver_sql(f"SET LOCAL {setting} = '{value}'")
            yield connection

    def settle(self, connection: Connection) -> None:
        self._raise_walls(_driver(connection))

    def make_index(self, statement: str) -> None:
        name = _INDEX.match(statement)[1]  # type: ignore[index] # The linter sees to it.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            valid = connection.exec_driver_sql(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(name)s)", {"name": name}
            ).scalar()
            if valid:
                return
            if valid is not None:  # What an attempt that was interrupted left.
                connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
            # A time limit of the session might stay behind with PgBouncer.
            limit = threading.Timer(_INDEX_SECONDS, _driver(connection).cancel_safe)
            limit.start()
            try:
                connection.exec_driver_sql(statement.replace("INDEX", "INDEX CONCURRENTLY", 1))
            finally:
                limit.cancel()

    def is_busy(self, error: BaseException | None) -> bool:
        return isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected)

    def drift(self) -> list[str]:
        """The steps are taken in a schema of their own, in a transaction that is rolled back."""
        schema, scratch = self.schema(), f"pegasus_{new_id().replace('-', '')}"
        if schema.revision is None:
            return []
        with self._engine.connect() as connection:
            found = _catalogue(connection)
            try:
                connection.exec_driver_sql(f"CREATE SCHEMA {scratch}")
            except ProgrammingError as error:
                raise Misconfigured(
                    "The role of DATABASE_URL may not create a schema, in which the steps are tried out.",
                    hint="GRANT CREATE ON DATABASE ... TO ...; or check as the owner of the database.",
                ) from error
            connection.exec_driver_sql(f"SET LOCAL search_path = {scratch}")
            runner.build(connection, schema.revision)
            self.settle(connection)
            return list(differences(found, _catalogue(connection)))

    def close(self) -> None:
        self._engine.dispose()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


_CATALOGUE = """
SELECT c.relname AS "table", '' AS part,
    CASE WHEN c.relrowsecurity THEN 'with row-level security' ELSE '' END
    || CASE WHEN c.relforcerowsecurity THEN ' for its owner too' ELSE '' END AS definition
FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT c.relname, 'column ' || a.attname, format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation::text ELSE '' END
    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || a.attidentity::text ELSE '' END
    || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT c.relname, 'index ' || i.indexrelid::regclass::text,
    pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' NOT VALID' END
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT c.relname, 'constraint ' || k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = current_schema()::regnamespace AND k.contype <> 'n'
UNION ALL
SELECT c.relname, 'trigger ' || t.tgname, pg_get_triggerdef(t.oid, true)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT tablename, 'policy ' || policyname, coalesce(qual, '') || ' / ' || coalesce(with_check, '')
FROM pg_policies WHERE schemaname = current_schema()
UNION ALL
SELECT '', 'function ' || p.proname, p.prosrc
FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = p.oid AND e.deptype = 'e')
"""


def _catalogue(connection: Connection) -> Catalogue:
    schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    return {
        (row.table, row.part): flat(row.definition).replace(f"{schema}.", "")
        for row in connection.exec_driver_sql(_CATALOGUE)
        if row.table not in BOOKKEEPING
    }
