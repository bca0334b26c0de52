"""Takes the steps one by one beside whoever works with the database; each can be interrupted and is then done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol, TypeVar

import structlog
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from pegasus.errors import Conflict, Unavailable
from pegasus.migrations import chain, config
from pegasus.migrations.plan import is_newer, pending
from pegasus.migrations.statements import in_words_of
from pegasus.migrations.steps import Backfill, Migration
from pegasus.ports import Progress, SchemaState

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

# A step that waits for a table makes everybody wait behind it, so it waits briefly and comes again.
TRIES, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10, 0.5, 10.0
BATCH_ROWS, LOG_EVERY_SECONDS = 1_000, 10.0
_LEDGER = """CREATE TABLE IF NOT EXISTS schema_steps (
    revision TEXT PRIMARY KEY,
    compatible_from TEXT NOT NULL,
    position TEXT,
    applied_at DOUBLE PRECISION
)"""


class Database(Protocol):
    """What differs between the databases."""

    def schema(self) -> SchemaState: ...

    def alone(self) -> AbstractContextManager[None]:
        """No two take steps at once; or where they may, each transaction of one waits for those of the other."""
        ...

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction for all workspaces, which neither waits long for others nor makes them wait long."""
        ...

    def settle(self, connection: Connection) -> None:
        """What each new schema needs, in the transaction of its step."""
        ...

    def make_index(self, statement: str) -> None:
        """Make an index that may be there already, whole or in part, while others write."""
        ...

    def is_busy(self, error: BaseException | None) -> bool:
        """Whether it went wrong only because of what others do."""
        ...


def bring_forward(database: Database, revision: str, progress: Progress) -> None:
    """Take every step up to a revision that is still to be taken."""
    schema = database.schema()
    if not pending(schema, revision):
        if is_newer(schema):
            log.info("schema.is_newer", revision=schema.revision, runs_from=schema.compatible_from)
        return
    try:
        with database.alone():
            _patiently(database, lambda: _in_transaction(database, _LEDGER))
            total = len(pending(database.schema(), revision))  # Others may have been quicker.
            while missing := pending(database.schema(), revision):
                progress(f"Step {missing[0].revision}: {missing[0].title}", total - len(missing), total)
                _take(database, missing[0], progress)
                if schema.revision:
                    log.info("schema.step_taken", revision=missing[0].revision, phase=missing[0].step.phase)
    except IntegrityError as error:
        raise Conflict(
            f"The schema stays at revision {database.schema().revision}: {str(error.orig).splitlines()[0]}.",
            hint="The rows that stand in the way are to be mended first.",
        ) from error
    except OperationalError as error:
        raise Unavailable(
            f"The schema stays at revision {database.schema().revision} for now: {str(error.orig).splitlines()[0]}.",
            hint="Run it again, it goes on there: when fewer long transactions are open, and with space on the disk.",
        ) from error


def build(connection: Connection, revision: str) -> None:
    """Make a whole schema in one transaction, where there is nothing yet that anybody uses."""
    for migration in chain():
        command_upgrade(connection, migration.revision)
        for statement in migration.step.indexes:
            connection.exec_driver_sql(statement)
        if migration.revision == revision:
            return


def command_upgrade(connection: Connection, revision: str) -> None:
    """Alembic's part: a step's statements, and the note of its revision."""
    configuration = config()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, revision)


def _take(database: Database, migration: Migration, progress: Progress) -> None:
    if migration.step.backfill:
        _backfill(database, migration, migration.step.backfill, progress)
    for statement in migration.step.indexes:
        _patiently(database, partial(database.make_index, statement))
    _patiently(database, lambda: _advance(database, migration))


def _in_transaction(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(in_words_of(connection.dialect.name, statement))


def _advance(database: Database, migration: Migration) -> None:
    with database.begin() as connection:
        if migration.down_revision:
            at = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if at != migration.down_revision:  # Another has just done it.
                return
        command_upgrade(connection, migration.revision)
        database.settle(connection)
        _note(connection, migration, applied_at=time.time())


def _note(connection: Connection, migration: Migration, **values: object) -> None:
    (column,) = values
    connection.execute(
        text(
            f"INSERT INTO schema_steps (revision, compatible_from, {column}) VALUES (:revision, :compatible_from,"
            f" :{column}) ON CONFLICT (revision) DO UPDATE SET {column} = excluded.{column}"
        ),
        {"revision": migration.revision, "compatible_from": migration.compatible_from, **values},
    )


def _backfill(database: Database, migration: Migration, backfill: Backfill, progress: Progress) -> None:
    done, total = _patiently(database, lambda: _how_far(database, migration, backfill))
    logged = time.monotonic()
    while True:
        began = time.monotonic()
        rows = _patiently(database, lambda: _batch(database, migration, backfill))
        if not rows:
            return
        done += rows
        progress(f"Rows of {backfill.table}", done, max(done, total))
        if time.monotonic() - logged > LOG_EVERY_SECONDS:
            log.info("schema.rows_filled", revision=migration.revision, table=backfill.table, rows=done, of=total)
            logged = time.monotonic()
        # As long again for the others, who wait for the same disk and, in SQLite, the same lock.
        time.sleep(min(time.monotonic() - began, LONGEST_PAUSE_SECONDS))


def _how_far(database: Database, migration: Migration, backfill: Backfill) -> tuple[int, int]:
    with database.begin() as connection:
        total = connection.exec_driver_sql(f"SELECT count(*) FROM {backfill.table}").scalar_one()
        position = _position(connection, migration)
        if position is None:
            return 0, total
        before = text(f"SELECT count(*) FROM {backfill.table} WHERE {backfill.key} <= :position")
        return connection.execute(before, {"position": position}).scalar_one(), total


def _position(connection: Connection, migration: Migration) -> str | int | None:
    query = text("SELECT position FROM schema_steps WHERE revision = :revision")
    noted = connection.execute(query, {"revision": migration.revision}).scalar()
    position: str | int | None = json.loads(noted) if noted else None
    return position


def _batch(database: Database, migration: Migration, backfill: Backfill) -> int:
    """How many rows were gone through; none at the end."""
    table, key = backfill.table, backfill.key
    with database.begin() as connection:
        position = _position(connection, migration)
        beyond, bounds = (f"{key} > :position", {"position": position}) if position is not None else ("1 = 1", {})
        last, rows = connection.execute(
            text(
                f"SELECT max({key}), count(*) FROM"
                f" (SELECT {key} FROM {table} WHERE {beyond} ORDER BY {key} LIMIT {BATCH_ROWS}) AS batch"
            ),
            bounds,
        ).one()
        if not rows:
            return 0
        connection.execute(
            text(f"UPDATE {table} SET {backfill.assignments} WHERE {beyond} AND {key} <= :last AND ({backfill.only})"),
            {**bounds, "last": last},
        )
        _note(connection, migration, position=json.dumps(last))
    return int(rows)


def _patiently(database: Database, work: Callable[[], Result]) -> Result:
    """Do a piece of work that others may be in the way of, again and again for a while."""
    for attempt in range(1, TRIES):
        try:
            return work()
        except DBAPIError as error:
            if not database.is_busy(error.orig):
                raise
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
            log.warning("schema.others_are_in_the_way", tried=attempt, of=TRIES, again_in_seconds=pause)
            time.sleep(pause)
    return work()
