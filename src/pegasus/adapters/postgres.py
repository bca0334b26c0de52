"""The relational store in PostgreSQL, for several processes at a time.

Nothing is kept in a session: settings, locks and the workspace live as long as their transaction, and no statement is
prepared by name. So connections may go through PgBouncer in transaction mode or RDS Proxy. Full text is in
``postgres_words``.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg import errors, generators
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap, Loader, PyFormat, Transformer
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import DictRow, dict_row
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper
from psycopg_pool import PoolTimeout

from pegasus import tracing
from pegasus.adapters.postgres_connection import Pool, WatchedConnection, checked, first_line, opened, place_of
from pegasus.adapters.postgres_walls import EVERY_WORKSPACE, wall_statements
from pegasus.adapters.postgres_words import PostgresWords
from pegasus.errors import Invalid, Misconfigured, TimedOut, Unavailable
from pegasus.identifiers import is_id
from pegasus.migrations import BOOKKEEPING, state
from pegasus.ports import ConnectionBudget, Parameters, Progress, SchemaState, Table, referenced_first, unseen

if TYPE_CHECKING:
    from pegasus.adapters.postgres_schema import PostgresSchema

log = structlog.get_logger(__name__)

Connection = WatchedConnection

# A writer waits for those before it, which may store long documents; a row is never held for so long.
_WRITERS_WAIT_SECONDS, _LOCK_SECONDS, _STATEMENT_SECONDS, _IDLE_SECONDS = 60, 10, 120, 600
# Any numbers, as long as they are nobody else's in this database; postgres_schema has another.
_WRITER_LOCK, _WORKSPACE_LOCKS = 7_345_002, 7_345_003
_FETCHED_AT_ONCE = 500
_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_WORDS = ("words", "word_counts", "word_frequencies")
# What is kept for superusers, and since version 16 for roles that were given it, is not ours.
_BUDGET = (
    "SELECT pg_backend_pid() AS pid, current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int AS room,"
    " (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS of_role,"
    " (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS of_database"
)


class PostgresRelationalStore:
    """``url`` is a libpq address; ``connections`` read at a time, half as many more write."""

    def __init__(self, url: str, connections: int = 8) -> None:
        self._address = checked(url)
        _try_out(self._address)
        # Two pools: who reads may come to write, and must not wait for connections that wait for its own.
        self._readers = _pool(self._address, "pegasus-read", connections)
        self._writers = _pool(self._address, "pegasus-write", max(1, connections // 2))

    def migrate(self, revision: str, progress: Progress = unseen, /) -> None:
        if self.schema().revision == revision:  # The rule, for which nothing more is loaded.
            return
        with _told(), self._changeable() as schema:
            schema.bring_forward(revision, progress)

    def schema(self) -> SchemaState:
        with self.read() as tx:
            return state(tx, {name for name in BOOKKEEPING if _is_there(tx, name)})

    def drift(self) -> list[str]:
        with _told(), self._changeable() as schema:
            return schema.drift()

    @contextmanager
    def _changeable(self) -> Iterator[PostgresSchema]:
        from pegasus.adapters.postgres_schema import PostgresSchema

        with closing(PostgresSchema(self._address, self.schema, _raise_walls)) as schema:
            yield schema

    def tables(self) -> list[Table]:
        with self.read() as tx:
            return _tables(tx)

    @contextmanager
    def write(self, workspace_id: str | None = None, /, *, alone: bool = True) -> Iterator[PostgresTransaction]:
        line = (
            f"; SET LOCAL lock_timeout = '{_WRITERS_WAIT_SECONDS}s';"
            f" {_in_line(workspace_id, alone=alone)}; SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"
        )
        begin = _begin("READ COMMITTED", workspace_id) + line.encode()
        with tracing.span("postgres.write"), _told(), self._begun(self._writers, begin) as connection:
            yield PostgresTransaction(connection)
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
                # The server would answer COMMIT with a silent ROLLBACK.
                raise Unavailable("A statement of this transaction had failed; nothing of it was kept.")
            _execute_bare(connection, b"COMMIT")

    @contextmanager
    def read(self, workspace_id: str | None = None, /) -> Iterator[PostgresTransaction]:
        begin = _begin("REPEATABLE READ READ ONLY", workspace_id)
        with tracing.span("postgres.read"), _told(), self._begun(self._readers, begin) as connection:
            yield PostgresTransaction(connection)

    @contextmanager
    def _begun(self, pool: Pool, begin: bytes) -> Iterator[Connection]:
        """A connection with an open transaction, which is rolled back when the block leaves it open."""
        connection = _begin_on_any(pool, begin)
        try:
            yield connection
        finally:
            try:
                if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    _execute_bare(connection, b"ROLLBACK")
            except psycopg.Error:
                connection.close()  # Whatever it was in the middle of, the server rolls it back.
            pool.putconn(connection)

    def damage(self) -> list[str]:
        with self.read() as tx:
            invalid = tx.all(
                "SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
                " WHERE NOT i.indisvalid AND c.relnamespace = current_schema::regnamespace"
            )
            unchecked = tx.all(
                "SELECT conname AS name, conrelid::regclass::text AS of FROM pg_constraint"
                " WHERE NOT convalidated AND connamespace = current_schema::regnamespace"
            )
            pages = tx.one(
                "SELECT coalesce(checksum_failures, 0) AS n FROM pg_stat_database WHERE datname = current_database()"
            )
        return [
            *(f"the index {row['name']} is not valid" for row in invalid),
            *(f"the constraint {row['name']} of {row['of']} was never checked" for row in unchecked),
            *([f"{pages['n']} pages did not fit their checksums"] if pages and pages["n"] else []),
        ]

    def compact(self) -> None:
        names = [table.name for table in self.tables()] + [*_WORDS]
        with _told(), psycopg.connect(self._address, autocommit=True) as connection:
            for name in names:
                # All rows go to a new file and the old one is deleted; whoever uses the table waits meanwhile.
                connection.execute(f"VACUUM (FULL, ANALYZE) {name}")

    def connection_budget(self) -> ConnectionBudget:
        with _told(), self._begun(self._readers, _begin("REPEATABLE READ READ ONLY", None)) as connection:
            row = PostgresTransaction(connection).one(_BUDGET)
            told = connection.info.backend_pid
        if row is None:
            raise Unavailable("PostgreSQL does not say how many connections it takes.")
        limits = [row["room"], *(row[name] for name in ("of_role", "of_database") if row[name] >= 0)]
        # A pooler gives each client a number of its own to cancel by, which is not that of the server's process.
        return ConnectionBudget(self._readers.max_size + self._writers.max_size, min(limits), row["pid"] != told)

    def ping(self) -> None:
        with self.read() as tx:
            tx.one("SELECT 1")

    def close(self) -> None:
        self._readers.close()
        self._writers.close()


class PostgresTransaction(PostgresWords):
    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transformer = Transformer(connection)
        self._cursors = count()

    def execute(self, sql: str, parameters: Parameters = {}) -> int:
        return self._run(sql, parameters).command_tuples or 0

    def execute_many(self, sql: str, rows: Sequence[Parameters]) -> None:
        if len(rows) == 1:
            self._run(sql, rows[0])
        elif rows:
            statement, names = _translated(sql, frozenset())
            with self._connection.cursor() as cursor:
                cursor.executemany(statement, [[row[name] for name in names] for row in rows])

    def all(self, sql: str, parameters: Parameters = {}) -> list[DictRow]:
        return self._rows(self._run(sql, parameters))

    def each(self, sql: str, parameters: Parameters = {}) -> Iterator[DictRow]:
        cursor = f"each_{next(self._cursors)}"
        self._run(f"DECLARE {cursor} NO SCROLL CURSOR FOR {sql}", parameters)
        while rows := self.all(f"FETCH {_FETCHED_AT_ONCE} FROM {cursor}"):
            yield from rows
        self.execute(f"CLOSE {cursor}")

    def one(self, sql: str, parameters: Parameters = {}) -> DictRow | None:
        rows = self._rows(self._run(sql, parameters), 1)
        return rows[0] if rows else None

    def load(self, table: Table, rows: Sequence[Parameters]) -> None:
        columns, values = ", ".join(table.columns), ", ".join(f":{column}" for column in table.columns)
        try:
            self.execute_many(f"INSERT INTO {table.name} ({columns}) VALUES ({values})", rows)
        except (KeyError, psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            raise Invalid(f"Rows do not fit the table {table.name}: {first_line(error)}.") from error

    def _run(self, sql: str, parameters: Parameters) -> PGresult:
        """Without a cursor, which takes four times as long as sending a statement and reading a row."""
        missing = frozenset(name for name, value in parameters.items() if value is None)
        statement, names = _translated(sql, missing)
        bound = self._transformer
        values = bound.dump_sequence([parameters[name] for name in names], [PyFormat.AUTO] * len(names))
        self._connection.pgconn.send_query_params(statement, values, bound.types, bound.formats)
        return _result(self._connection)

    def _rows(self, result: PGresult, most: int | None = None) -> list[DictRow]:
        """The rows that a statement gave, or the first of them."""
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        self._transformer.set_pgresult(result)
        count = result.ntuples if most is None else min(most, result.ntuples)
        return self._transformer.load_rows(0, count, lambda values: dict(zip(names, values, strict=True)))


# Literals, quoted names, comments and casts are left as they are.
_PARTS = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|::)|:(?P<name>[A-Za-z_]\w*)|(?P<like>\bLIKE\b)""",
    re.DOTALL,
)


@lru_cache(maxsize=2_000)
def _translated(sql: str, missing: frozenset[str]) -> tuple[bytes, list[str]]:
    """SQL with ``:name`` parameters as PostgreSQL takes it, and the names in the order of their numbers.

    What is missing becomes NULL: of a parameter that is only compared with nothing, the server could not tell the type.
    LIKE takes no notice of the case of ASCII letters, as in SQLite.
    """
    names: list[str] = []

    def translate(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "ILIKE" if match["like"] else match["kept"]
        if name in missing:
            return "NULL"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PARTS.sub(translate, sql).encode(), names


class _IntDumper(Int8Dumper):
    """All whole numbers, and truth as one, are of one type, as in SQLite."""

    def dump(self, obj: Any) -> bytes | bytearray | memoryview | None:
        return super().dump(int(obj))


class _TruthLoader(Loader):
    def load(self, data: bytes | bytearray | memoryview) -> int:
        return int(bytes(data) == b"t")


class _SumLoader(Loader):
    """The sum of whole numbers, which PostgreSQL gives as a decimal."""

    def load(self, data: bytes | bytearray | memoryview) -> int | float:
        digits = bytes(data).decode()
        return int(digits) if digits.lstrip("-").isdigit() else float(digits)


class _Types(AdaptContext):
    """Values go to the server with their types, and come back as SQLite would give them."""

    def __init__(self) -> None:
        self._adapters = AdaptersMap(psycopg.adapters)
        self._adapters.register_dumper(str, StrDumper)
        self._adapters.register_dumper(int, _IntDumper)
        self._adapters.register_dumper(bool, _IntDumper)
        self._adapters.register_loader("bool", _TruthLoader)
        self._adapters.register_loader("numeric", _SumLoader)

    @property
    def adapters(self) -> AdaptersMap:
        return self._adapters

    @property
    def connection(self) -> None:
        return None


def _try_out(address: str) -> None:
    with opened(address) as connection:
        encoding = connection.info.parameter_status("server_encoding")
        unbound = connection.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"
        ).fetchone()
    if encoding != "UTF8":
        raise Misconfigured(
            f"The database at {place_of(address)} stores text in {encoding}.",
            hint="Create one with: CREATE DATABASE pegasus TEMPLATE template0 ENCODING 'UTF8'",
        )
    if unbound:
        log.warning(
            "postgres.row_level_security_is_bypassed",
            hint="The role is a superuser or has BYPASSRLS. Give Pegasus an ordinary role that owns its database.",
        )


def _pool(address: str, name: str, connections: int) -> Pool:
    options = {
        "autocommit": True,  # Transactions are begun and ended by name, with all that belongs to them.
        "prepare_threshold": None,
        "cursor_factory": psycopg.RawCursor,
        "row_factory": dict_row,
        "context": _Types(),
    }
    return Pool(address, name, connections, options)


def _begin(mode: str, workspace_id: str | None) -> bytes:
    if workspace_id is not None and not is_id(workspace_id):  # It becomes part of a statement.
        raise Invalid(f"{workspace_id[:100]!r} is not the id of a workspace.")
    return (
        f"BEGIN ISOLATION LEVEL {mode}; SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s';"
        f" SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s';"
        " SET LOCAL jit = off;"  # Compiling takes longer than any of these statements.
        f" SET LOCAL pegasus.workspace = '{workspace_id or EVERY_WORKSPACE}'"
    ).encode()


def _in_line(workspace_id: str | None, *, alone: bool) -> str:
    """Writers of one workspace wait for each other and for those of all workspaces, who wait for everybody.

    That is as much as statements need that first look and then write, as all of Pegasus' do: row-level security sees
    to it that a writer of one workspace neither looks at nor changes what others write at the same time.
    """
    if not alone:
        return f"SELECT pg_advisory_xact_lock_shared({_WRITER_LOCK})"
    if workspace_id is None:
        return f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"
    # Two workspaces that share a number wait for each other now and then.
    number = zlib.crc32(workspace_id.encode()) - 2**31
    shared = f"SELECT pg_advisory_xact_lock_shared({_WRITER_LOCK})"
    return f"{shared}; SELECT pg_advisory_xact_lock({_WORKSPACE_LOCKS}, {number})"


def _execute_bare(connection: Connection, statements: bytes) -> None:
    """Without a cursor, which has nothing to do where there are neither values nor rows: each transaction begins and
    ends so, and it took a third of a short one's time."""
    connection.pgconn.send_query(statements)
    _result(connection)


def _result(connection: psycopg.Connection[DictRow]) -> PGresult:
    """The last that the server answers to what was sent. The connection waits for it, not libpq, which would wait for
    ever for a server that has fallen silent."""
    result: PGresult = connection.wait(generators.execute(connection.pgconn))[-1]
    if result.status not in _DONE:
        raise errors.error_from_result(result)
    return result


def _begin_on_any(pool: Pool, begin: bytes) -> Connection:
    """A connection on which the transaction has begun. Those that were lost while nobody used them are passed over:
    nothing was asked of them yet, so this is the one place where trying again is safe."""
    until = time.monotonic() + pool.patience_seconds
    while True:
        connection = pool.getconn(max(0.1, until - time.monotonic()))
        try:
            _execute_bare(connection, begin)
        except psycopg.Error:
            lost = connection.closed
            if not lost:
                connection.execute("ROLLBACK")
            pool.putconn(connection)
            if not lost or time.monotonic() > until:
                raise
        else:
            return connection


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the driver as those of Pegasus. A row that does not fit stays what it is, as with SQLite."""
    try:
        yield
    except psycopg.IntegrityError:
        raise
    except errors.QueryCanceled as error:
        raise TimedOut(
            f"PostgreSQL took longer than {_STATEMENT_SECONDS} seconds.", hint="Try again when less is going on."
        ) from error
    except psycopg.DataError as error:
        raise Invalid(f"This cannot be stored: {first_line(error)}.", hint="Remove what is named.") from error
    except PoolTimeout as error:
        raise Unavailable(
            "PostgreSQL cannot be reached, or all connections to it are in use.",
            hint="See whether it is running; PEGASUS_DATABASE_CONNECTIONS is how many there may be.",
        ) from error
    except psycopg.Error as error:
        raise Unavailable(
            f"PostgreSQL cannot do this now: {first_line(error)}.",
            hint="Try again; if it stays so, see whether the server is running and has space.",
        ) from error


def _raise_walls(connection: Any) -> None:
    before = connection.cursor_factory, connection.row_factory
    connection.cursor_factory, connection.row_factory = psycopg.RawCursor, dict_row
    tx = PostgresTransaction(connection)
    for statement in wall_statements(tx, _tables(tx)):
        tx.execute(statement)
    connection.cursor_factory, connection.row_factory = before


def _is_there(tx: PostgresTransaction, table: str) -> bool:
    row = tx.one("SELECT to_regclass(:table) IS NOT NULL AS found", {"table": table})
    return row is not None and bool(row["found"])


def _tables(tx: PostgresTransaction) -> list[Table]:
    names = tx.all(
        "SELECT relname AS name FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = current_schema::regnamespace ORDER BY relname"
    )
    return referenced_first([_table(tx, row["name"]) for row in names if row["name"] not in (*_WORDS, *BOOKKEEPING)])


def _table(tx: PostgresTransaction, name: str) -> Table:
    columns = tx.all(
        "SELECT attname AS name, atttypid = 'bytea'::regtype AS binary FROM pg_attribute"
        " WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        {"name": name},
    )
    key = tx.all(
        "SELECT a.attname AS name FROM pg_constraint c CROSS JOIN unnest(c.conkey) WITH ORDINALITY k (number, place)"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number"
        " WHERE c.conrelid = to_regclass(:name) AND c.contype = 'p' ORDER BY k.place",
        {"name": name},
    )
    references = tx.all(
        "SELECT a.attname AS column, t.relname AS other, o.attname AS named FROM pg_constraint c"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " JOIN pg_class t ON t.oid = c.confrelid"
        " JOIN pg_attribute o ON o.attrelid = c.confrelid AND o.attnum = c.confkey[1]"
        " WHERE c.conrelid = to_regclass(:name) AND c.contype = 'f' ORDER BY c.conname",
        {"name": name},
    )
    return Table(
        name,
        [row["name"] for row in columns],
        [row["name"] for row in key],
        frozenset(row["name"] for row in columns if row["binary"]),
        [(row["column"], row["other"], row["named"]) for row in references],
    )
