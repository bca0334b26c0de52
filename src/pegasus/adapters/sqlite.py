"""The relational store in one SQLite file, with FTS5 for search by words.

One connection writes, under a lock, so that a writer waits in line instead of failing with "database is locked";
readers have their own connections and, thanks to the write-ahead log, never wait for it.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pegasus.domain import Filters
from pegasus.errors import Invalid, Misconfigured, Unavailable
from pegasus.filtering import passages_of
from pegasus.identifiers import is_id
from pegasus.migrations import BOOKKEEPING, state
from pegasus.ports import Parameters, Progress, SchemaState, Table, referenced_first, unseen

if TYPE_CHECKING:
    from pegasus.adapters.sqlite_schema import SqliteSchema

_READERS = 8
_CACHE_KIBIBYTES = 16_384
# Words in a title or a heading say more about a passage than words in its text.
_TITLE_WEIGHT, _HEADING_WEIGHT, _TEXT_WEIGHT = 1.5, 1.25, 1.0
# A term in more passages than this only ranks what others have found: BM25 visits every match, and the words that
# many passages share say little about any (12 ms against 3 at 30,000 passages, 9 of the 10 best the same). Where all
# terms are common, passages that have them all will do, or such as have one of the two rarest.
_COMMON, _VERY_COMMON, _ENOUGH = 3_000, 30_000, 50
# SQLite takes 32,766 parameters at most (SQLITE_MAX_VARIABLE_NUMBER); lists of ids are cut well below that.
_LIST_CHUNK = 500
_CHECKPOINT_TRIES, _CHECKPOINT_WAIT_SECONDS = 100, 0.1


class SqliteRelationalStore:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._writer = self._connect()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        for _ in range(_READERS):
            self._readers.put(self._connect())

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            # FULL: a commit is on the disk before it is answered, so that a power cut loses nothing accepted.
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            # What is deleted is overwritten with zeros, not only marked as free.
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIBIBYTES // _READERS}")
            connection.execute("PRAGMA temp_store=MEMORY")
        except sqlite3.DatabaseError as error:
            raise Misconfigured(
                f"{self._path} cannot be opened as a SQLite database: {error}.",
                hint="Give another --data directory, or restore this one from a backup.",
            ) from error
        return connection

    def migrate(self, revision: str, progress: Progress = unseen, /) -> None:
        if self.schema().revision == revision:  # The rule, for which nothing more is loaded.
            return
        with self._changeable() as schema:
            schema.bring_forward(revision, progress)

    def schema(self) -> SchemaState:
        with self.read() as tx:
            return state(tx, {row["name"] for row in tx.all("SELECT name FROM sqlite_master WHERE type = 'table'")})

    def drift(self) -> list[str]:
        with self._changeable() as schema:
            return schema.drift()

    @contextmanager
    def _changeable(self) -> Iterator[SqliteSchema]:
        from pegasus.adapters.sqlite_schema import SqliteSchema

        with closing(SqliteSchema(self._path, self.schema)) as schema:
            yield schema

    def tables(self) -> list[Table]:
        with self.read() as tx:
            # The bookkeeping of the schema and the shadow tables of FTS5 are no part of the schema's rows.
            names = tx.all(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
                " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            )
            return referenced_first([_table(tx, row["name"]) for row in names if row["name"] not in BOOKKEEPING])

    @contextmanager
    def write(self, _workspace_id: str | None = None, /, *, alone: bool = True) -> Iterator[SqliteTransaction]:  # noqa: ARG002 - there is one writer.
        with self._write_lock, _unavailable():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteTransaction(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self, _workspace_id: str | None = None, /) -> Iterator[SqliteTransaction]:
        connection = self._readers.get()
        try:
            with _unavailable():
                connection.execute("BEGIN")
                yield SqliteTransaction(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._readers.put(connection)

    def damage(self) -> list[str]:
        with self.read() as tx:
            try:
                broken = [row[0] for row in tx.all("PRAGMA quick_check(100)") if row[0] != "ok"]
                loose = tx.all("PRAGMA foreign_key_check")
            except sqlite3.DatabaseError as error:  # So damaged that it cannot even be looked through.
                return [str(error)]
        return broken + [f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there" for row in loose]

    def compact(self) -> None:
        with self._write_lock, _unavailable():
            # VACUUM writes every live row to fresh pages; what the old ones held goes with them, and the log, which
            # had copies of both, is cut to nothing. Readers hold the log for the length of a query.
            self._writer.execute("VACUUM")
            for _ in range(_CHECKPOINT_TRIES):
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if not busy:
                    return
                time.sleep(_CHECKPOINT_WAIT_SECONDS)
        raise Unavailable(
            "The write-ahead log could not be emptied: it is being read without a pause.",
            hint="Compact again when less is going on.",
        )

    def connection_budget(self) -> None:
        return None

    def ping(self) -> None:
        with self.read() as tx:
            tx.one("SELECT 1")

    def close(self) -> None:
        with self._write_lock:
            for _ in range(_READERS):
                self._readers.get().close()
            self._writer.close()


@contextmanager
def _unavailable() -> Iterator[None]:
    """A full disk, a lost mount or a locked file is not the caller's fault and may pass."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"The relational store cannot do this now: {error}.",
            hint="Check the free space and the permissions of the data directory, then try again.",
        ) from error


class SqliteTransaction:
    skip_locked = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Parameters = {}) -> int:
        with closing(self._connection.execute(sql, _without_nul(parameters))) as cursor:
            return cursor.rowcount

    def execute_many(self, sql: str, rows: Sequence[Parameters]) -> None:
        self._connection.executemany(sql, map(_without_nul, rows))

    def all(self, sql: str, parameters: Parameters = {}) -> list[sqlite3.Row]:
        return self._connection.execute(sql, _without_nul(parameters)).fetchall()

    def each(self, sql: str, parameters: Parameters = {}) -> Iterator[sqlite3.Row]:
        with closing(self._connection.execute(sql, _without_nul(parameters))) as cursor:
            yield from cursor

    def one(self, sql: str, parameters: Parameters = {}) -> sqlite3.Row | None:
        with closing(self._connection.execute(sql, _without_nul(parameters))) as cursor:
            row: sqlite3.Row | None = cursor.fetchone()
            return row

    def load(self, table: Table, rows: Sequence[Parameters]) -> None:
        columns, values = ", ".join(table.columns), ", ".join(f":{column}" for column in table.columns)
        try:
            self.execute_many(f"INSERT INTO {table.name} ({columns}) VALUES ({values})", rows)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError) as error:
            raise Invalid(f"Rows do not fit the table {table.name}: {error}.") from error

    def index_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        create_words(self._connection, workspace_id)
        self._copy_words(
            f"INSERT INTO {_words_table(workspace_id)} (rowid, title, heading, text) SELECT seq,", passage_ids
        )

    def unindex_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        table = _words_table(workspace_id)
        if self._exists(table):
            self._copy_words(
                f"INSERT INTO {table} ({table}, rowid, title, heading, text) SELECT 'delete', seq,", passage_ids
            )

    def _copy_words(self, insert_select: str, passage_ids: Sequence[str]) -> None:
        for first in range(0, len(passage_ids), _LIST_CHUNK):
            ids = passage_ids[first : first + _LIST_CHUNK]
            marks = ",".join("?" * len(ids))
            self._connection.execute(f"{insert_select} title, heading, text FROM passages WHERE id IN ({marks})", ids)

    def _exists(self, table: str) -> bool:
        return self.one("SELECT 1 FROM sqlite_master WHERE name = :name", {"name": table}) is not None

    def search_phrase(self, workspace_id: str, words: Sequence[str], limit: int) -> list[str | None]:
        table = _words_table(workspace_id)
        if not words or not self._exists(table):
            return []
        rows = self.all(
            f"SELECT p.id FROM (SELECT rowid FROM {table} WHERE {table} MATCH :phrase LIMIT :limit) w"
            " LEFT JOIN passages p ON p.seq = w.rowid",
            {"phrase": _quoted(" ".join(words)), "limit": limit},
        )
        return [row["id"] for row in rows]

    def words_missing(self, workspace_id: str) -> list[str]:
        table = _words_table(workspace_id)
        indexed = f"AND seq NOT IN (SELECT id FROM {table}_docsize)" if self._exists(table) else ""
        rows = self.all(f"SELECT id FROM passages WHERE workspace_id = :w {indexed}", {"w": workspace_id})
        return [row["id"] for row in rows]

    def words_agree(self, workspace_id: str) -> bool:
        table = _words_table(workspace_id)
        if not self._exists(table):
            return not self.words_missing(workspace_id)
        try:
            # With rank 1 the index is compared with the rows, not only with itself.
            self._connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError:
            return False
        return True

    def rebuild_words(self, workspace_id: str) -> None:
        # Dropped first: a damaged index cannot be trusted to rebuild itself.
        self.drop_words(workspace_id)
        create_words(self._connection, workspace_id)
        table = _words_table(workspace_id)
        self._connection.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")

    def drop_words(self, workspace_id: str) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {_words_table(workspace_id)}")
        self._connection.execute(f"DROP VIEW IF EXISTS {_passages_view(workspace_id)}")

    def search_words(
        self, workspace_id: str, terms: Sequence[str], limit: int, filters: Filters
    ) -> list[tuple[str, float]]:
        table = _words_table(workspace_id)
        if not terms or not self._exists(table):
            return []
        condition, parameters = _filter_condition(workspace_id, filters)

        def ranked(match: str) -> list[tuple[str, float]]:
            # bm25() is smaller the better the match; the subquery keeps the join to the passages that are returned.
            rows = self.all(
                f"SELECT p.id, w.badness FROM (SELECT rowid,"
                f" bm25({table}, {_TITLE_WEIGHT}, {_HEADING_WEIGHT}, {_TEXT_WEIGHT}) AS badness FROM {table}"
                f" WHERE {table} MATCH :words {condition} ORDER BY badness LIMIT :limit) w"
                " JOIN passages p ON p.seq = w.rowid ORDER BY w.badness",
                {"words": match, "limit": limit, **parameters},
            )
            return [(row["id"], -row["badness"]) for row in rows]

        counts = {term: self._matches_up_to(table, term, _COMMON) for term in terms}
        rare = [term for term in terms if counts[term] <= _COMMON]
        if len(rare) == len(terms):
            return ranked(_any_of(terms))
        if rare:
            return ranked(f"({_any_of(rare)}) AND ({_any_of(terms)})")
        found = ranked(" AND ".join(map(_quoted, terms)))
        if len(found) >= min(limit, _ENOUGH):
            return found
        rarest = sorted(terms, key=lambda term: self._matches_up_to(table, term, _VERY_COMMON))[:2]
        return ranked(f"({_any_of(rarest)}) AND ({_any_of(terms)})")

    def _matches_up_to(self, table: str, term: str, most: int) -> int:
        """How many passages have a term, counted no further than ``most + 1``."""
        row = self.one(
            f"SELECT count(*) AS n FROM (SELECT 1 FROM {table} WHERE {table} MATCH :term LIMIT {most + 1})",
            {"term": _quoted(term)},
        )
        return row["n"] if row else 0


def _table(tx: SqliteTransaction, name: str) -> Table:
    columns = tx.all("SELECT name, type, pk FROM pragma_table_info(:name) ORDER BY cid", {"name": name})
    references = tx.all('SELECT "from", "table", "to" FROM pragma_foreign_key_list(:name)', {"name": name})
    return Table(
        name,
        [row["name"] for row in columns],
        [row["name"] for row in sorted(columns, key=lambda row: row["pk"]) if row["pk"]],
        frozenset(row["name"] for row in columns if row["type"] == "BLOB"),
        [(row["from"], row["table"], row["to"]) for row in references],
    )


def _without_nul(parameters: Parameters) -> Parameters:
    """Parameters whose texts have no NUL, after which SQLite itself would take no notice of the rest."""
    for value in parameters.values():
        if isinstance(value, str) and "\0" in value:
            raise Invalid("A text with a NUL character cannot be stored.", hint="Remove it.")
    return parameters


def _any_of(terms: Sequence[str]) -> str:
    return " OR ".join(map(_quoted, terms))


def _quoted(term: str) -> str:
    """A term as an FTS5 string, in which only quotes and NUL mean something."""
    return '"{}"'.format(term.replace('"', " ").replace("\0", " "))


def create_words(connection: sqlite3.Connection, workspace_id: str) -> None:
    """The full text index of a workspace, where it is not there yet, over a view of its passages.

    An index for each workspace: neither rows nor word statistics of one can show in another's results.
    """
    table, view = _words_table(workspace_id), _passages_view(workspace_id)
    connection.execute(
        f"CREATE VIEW IF NOT EXISTS {view} AS SELECT seq, title, heading, text FROM passages"
        f" WHERE workspace_id = '{workspace_id}'"
    )
    connection.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5(title, heading, text, content='{view}',"
        " content_rowid='seq', tokenize='porter unicode61 remove_diacritics 2')"
    )


def _words_table(workspace_id: str) -> str:
    return f"words_{_hex(workspace_id)}"


def _passages_view(workspace_id: str) -> str:
    return f"passages_{_hex(workspace_id)}"


def _hex(workspace_id: str) -> str:
    if not is_id(workspace_id):  # A restored row may say anything, and this becomes part of a statement.
        raise Invalid(f"{workspace_id[:100]!r} is not the id of a workspace.")
    return uuid.UUID(workspace_id).hex


def _filter_condition(workspace_id: str, filters: Filters) -> tuple[str, Parameters]:
    if not filters:
        return "", {}
    passages, parameters = passages_of("seq", workspace_id, filters)
    return f"AND rowid IN ({passages})", parameters
