"""What PostgreSQL has to do beyond the contract of ``RelationalStore``: several processes, a second wall, a network."""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from postgresql import PASSWORD, PostgresServer
from proxies import proxy_to
from psycopg.sql import SQL

from pegasus.access import service as access
from pegasus.adapters import postgres, postgres_connection, postgres_schema
from pegasus.adapters.postgres import PostgresRelationalStore, _translated
from pegasus.domain import Filters, Lane
from pegasus.errors import Invalid, Misconfigured, TimedOut, Unavailable
from pegasus.identifiers import new_id
from pegasus.jobs import service as jobs
from pegasus.migrations import HEAD, runner
from pegasus.ports import Transaction

pytestmark = pytest.mark.usefixtures("postgres_server")


@pytest.fixture
def store(postgres_database: str) -> Iterator[PostgresRelationalStore]:
    opened = PostgresRelationalStore(postgres_database)
    yield opened
    opened.close()


@pytest.fixture
def other(postgres_database: str) -> Iterator[PostgresRelationalStore]:
    """As another process has it open."""
    opened = PostgresRelationalStore(postgres_database)
    yield opened
    opened.close()


def two_workspaces(store: PostgresRelationalStore) -> tuple[str, str]:
    with store.write() as tx:
        return access.create_workspace(tx, "one"), access.create_workspace(tx, "two")


def count(store: PostgresRelationalStore, table: str, workspace_id: str | None = None) -> int:
    with store.read(workspace_id) as tx:
        return int(tx.one(f"SELECT count(*) AS n FROM {table}")["n"])


def add_passage(tx: Transaction, workspace_id: str, text: str) -> None:
    tx.execute(
        "INSERT INTO documents (id, workspace_id, title, title_key, media_type, version, sha256, size_bytes, state,"
        " metadata, created_at, updated_at) VALUES (:w, :w, '', '', '', 1, '', 0, '', '', 0, 0)",
        {"w": workspace_id},
    )
    tx.execute(
        "INSERT INTO passages (id, workspace_id, document_id, version, start_offset, end_offset, title, heading, text,"
        " sha256, input_sha256, indexed) VALUES (:w, :w, :w, 1, 0, 0, '', '', :text, '', '', 0)",
        {"w": workspace_id, "text": text},
    )
    tx.index_words(workspace_id, [workspace_id])


def disconnect(server: PostgresServer) -> None:
    server.administer(SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pegasus'"))


NOWHERE = "postgresql://pegasus:a-secret@127.0.0.1:9/none"


class TestTranslation:
    @pytest.mark.parametrize(("sql", "translated"), [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1"),
        ("SELECT ':a', \":a\", 'it''s :a' /* :a */ -- :a", "SELECT ':a', \":a\", 'it''s :a' /* :a */ -- :a"),
        ("SELECT :a::text", "SELECT $1::text"),
        ("SELECT x::a", "SELECT x::a"),
        ("x LIKE :a || '%' AND 'LIKE' = :b", "x ILIKE $1 || '%' AND 'LIKE' = $2"),
        ("(:nothing IS NULL OR x < :nothing) AND y = :a", "(NULL IS NULL OR x < NULL) AND y = $1"),
    ])  # fmt: skip
    def test_only_parameters_are_replaced(self, sql: str, translated: str) -> None:
        assert _translated(sql, frozenset({"nothing"}))[0] == translated.encode()


class TestTheSecondWall:
    """Statements without any condition: what is shown is what the store itself lets through."""

    def test_every_table_with_rows_of_workspaces_is_behind_it(self, store: PostgresRelationalStore) -> None:
        with store.read() as tx:
            walled = {row["name"] for row in tx.all("SELECT tablename AS name FROM pg_policies")}
            forced = tx.all("SELECT relname AS name FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        assert walled == {table.name for table in store.tables()} - {"backups"} | {"word_counts"}
        assert {row["name"] for row in forced} == walled

    def test_rows_of_others_are_not_seen(self, store: PostgresRelationalStore) -> None:
        one, two = two_workspaces(store)
        with store.write() as tx:
            access.create_key(tx, one, "of one")
            job = jobs.enqueue(tx, two, "probe", Lane.READ, "step")
            tx.execute("INSERT INTO batch_items (job_id, ordinal, name, outcome) VALUES (:id, 1, 'a', 'created')",
                       {"id": job.id})  # fmt: skip
        for table, by_workspace in {"workspaces": (1, 1, 2), "api_keys": (1, 0, 1), "batch_items": (0, 1, 1)}.items():
            assert (count(store, table, one), count(store, table, two), count(store, table)) == by_workspace, table

    def test_rows_of_others_are_neither_changed_nor_made(self, store: PostgresRelationalStore) -> None:
        one, two = two_workspaces(store)
        with store.write(one) as tx:
            assert tx.execute("UPDATE workspaces SET name = 'changed'") == 1
            assert tx.execute("DELETE FROM workspaces WHERE id = :id", {"id": two}) == 0
        with pytest.raises(Unavailable, match="row-level security"), store.write(one) as tx:
            access.create_key(tx, two, "smuggled")
        with store.read() as tx:
            assert [row["name"] for row in tx.all("SELECT name FROM workspaces ORDER BY id")] == ["changed", "two"]

    def test_nothing_is_seen_where_no_workspace_is_named(
        self, store: PostgresRelationalStore, postgres_database: str
    ) -> None:
        two_workspaces(store)
        with psycopg.connect(postgres_database) as connection:
            assert connection.execute("SELECT count(*) FROM workspaces").fetchone() == (0,)

    def test_the_workspace_of_one_transaction_is_not_that_of_the_next(self, postgres_database: str) -> None:
        store = PostgresRelationalStore(postgres_database, connections=1)
        one, _ = two_workspaces(store)
        assert [count(store, "workspaces", one), count(store, "workspaces")] == [1, 2]
        store.close()

    def test_words_of_others_are_not_found(self, store: PostgresRelationalStore) -> None:
        one, two = two_workspaces(store)
        with store.write() as tx:
            add_passage(tx, two, "albatross")
        # As a service would that mixes two workspaces up.
        for asked, seen in ((one, 0), (two, 1)):
            with store.read(asked) as tx:
                assert len(tx.search_words(two, ["albatross"], 10, Filters())) == seen
                assert len(tx.search_phrase(two, ["albatross"], 10)) == seen

    @pytest.mark.parametrize("harm", [
        "DELETE FROM word_frequencies", "UPDATE word_frequencies SET passages = 2", "UPDATE word_counts SET terms = 7",
        "UPDATE words SET vector = vector || 'forged:1'::tsvector", "DELETE FROM word_counts",
    ])  # fmt: skip
    def test_an_index_that_was_tampered_with_is_noticed_and_rebuilt(
        self, store: PostgresRelationalStore, harm: str
    ) -> None:
        one, two = two_workspaces(store)
        with store.write() as tx:
            for workspace_id in (one, two):
                add_passage(tx, workspace_id, "the albatross")
        with store.write(one) as tx:
            assert tx.words_agree(one)
            tx.execute(harm if "word_frequencies" not in harm else f"{harm} WHERE term LIKE '%albatross'")
            assert not tx.words_agree(one)
            tx.rebuild_words(one)
            assert tx.words_agree(one)
            assert tx.search_words(one, ["albatross"], 10, Filters())

    def test_what_is_no_id_is_no_workspace(self, store: PostgresRelationalStore) -> None:
        for call in (store.read, store.write):
            with pytest.raises(Invalid), call("*'; DROP TABLE jobs; --"):
                pass

    def test_a_role_that_climbs_over_it_is_told(
        self, postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        PostgresRelationalStore(postgres_server.url("postgres").replace("//pegasus:", "//postgres:")).close()
        assert "row_level_security_is_bypassed" in "".join(capsys.readouterr())


class TestSeveralProcesses:
    def test_writers_of_one_workspace_wait_for_each_other_and_for_nobody_else(
        self, store: PostgresRelationalStore, other: PostgresRelationalStore
    ) -> None:
        one, two = two_workspaces(store)

        def write(workspace_id: str | None, *, alone: bool = True) -> None:
            with other.write(workspace_id, alone=alone) as tx:
                tx.one("SELECT 1")

        with ThreadPoolExecutor(4) as pool:
            with store.write(one):
                pool.submit(write, two).result(30)
                pool.submit(write, None, alone=False).result(30)
                waiting = [pool.submit(write, one), pool.submit(write, None)]
                time.sleep(0.3)
                assert not any(future.done() for future in waiting)
            for future in waiting:
                future.result(30)

    def test_several_claim_at_once_and_each_job_is_claimed_once(
        self, store: PostgresRelationalStore, other: PostgresRelationalStore
    ) -> None:
        one, two = two_workspaces(store)
        with store.write() as tx:
            made = {jobs.enqueue(tx, (one, two)[n % 2], "probe", Lane.READ, "step").id for n in range(200)}
        barrier = threading.Barrier(4)

        def claim(number: int) -> list[str]:
            claimed: list[str] = []
            barrier.wait()
            while True:
                with (store, other)[number % 2].write(alone=False) as tx:
                    some = jobs.claim(tx, Lane.READ, 7, fresh=True, owner=f"w{number}", now=time.time(),
                                      lease_seconds=60, turns={})  # fmt: skip
                    time.sleep(0.005)  # Others claim meanwhile.
                if not some:
                    return claimed
                claimed += [job.id for job in some]

        with ThreadPoolExecutor(4) as pool:
            claims = list(pool.map(claim, range(4), timeout=60))
        assert sorted(id_ for claimed in claims for id_ in claimed) == sorted(made)
        assert sum(map(bool, claims)) >= 2

    def test_a_job_that_another_is_claiming_is_passed_over_without_waiting(
        self, store: PostgresRelationalStore, other: PostgresRelationalStore
    ) -> None:
        one, _ = two_workspaces(store)
        with store.write() as tx:
            ids = [jobs.enqueue(tx, one, "probe", Lane.READ, "step").id for _ in range(2)]

        def claim(opened: PostgresRelationalStore, inner: bool) -> list[str]:
            with opened.write(alone=False) as tx:
                some = jobs.claim(tx, Lane.READ, 1, fresh=True, owner="w", now=time.time(), lease_seconds=60, turns={})
                return [job.id for job in some] + (claim(other, inner=False) if inner else [])

        assert sorted(claim(store, inner=True)) == sorted(ids)

    def test_many_migrate_at_once_and_all_end_well(self, postgres_server: PostgresServer) -> None:
        name = postgres_server.create()
        stores = [PostgresRelationalStore(postgres_server.url(name), 1) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: one.migrate(HEAD), stores, timeout=100))
        for one in stores:
            assert one.schema().revision == HEAD
            one.close()

    def test_a_migration_that_would_make_everybody_wait_gives_up(
        self, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_schema, "_LOCK_SECONDS", 1)
        monkeypatch.setattr(runner, "TRIES", 2)
        store = PostgresRelationalStore(postgres_server.url(postgres_server.create()))
        store.migrate("0002")
        with store.read() as tx:
            tx.all("SELECT 1 FROM workspaces")
            with pytest.raises(Unavailable, match="lock timeout"):
                store.migrate(HEAD)
        assert store.schema().revision == "0002"
        store.migrate(HEAD)
        store.close()

    def test_a_deadlock_is_something_to_try_again(
        self, store: PostgresRelationalStore, other: PostgresRelationalStore
    ) -> None:
        one, two = two_workspaces(store)
        barrier = threading.Barrier(2)

        def cross(opened: PostgresRelationalStore, first: str, second: str) -> str:
            try:
                with opened.write(alone=False) as tx:
                    tx.execute("UPDATE workspaces SET name = 'x' WHERE id = :id", {"id": first})
                    barrier.wait(60)
                    tx.execute("UPDATE workspaces SET name = 'x' WHERE id = :id", {"id": second})
            except Unavailable as error:
                return error.detail
            return "done"

        with ThreadPoolExecutor(2) as pool:
            ends = [pool.submit(cross, store, one, two), pool.submit(cross, other, two, one)]
            assert sorted(end.result(30) for end in ends)[1:] == ["done"]
            assert "deadlock" in min(end.result() for end in ends) or "deadlock" in max(end.result() for end in ends)


class TestTheNetwork:
    def test_connections_that_were_lost_while_idle_are_not_noticed(
        self, store: PostgresRelationalStore, postgres_server: PostgresServer
    ) -> None:
        two_workspaces(store)
        with ThreadPoolExecutor(8) as pool:  # So that there are several.
            list(pool.map(lambda _: count(store, "workspaces"), range(50)))
        disconnect(postgres_server)
        two_workspaces(store)
        assert count(store, "workspaces") == 4

    def test_a_connection_that_is_lost_in_a_transaction_is_told_and_nothing_is_kept(
        self, store: PostgresRelationalStore, postgres_server: PostgresServer
    ) -> None:
        with pytest.raises(Unavailable) as raised, store.write() as tx:
            access.create_workspace(tx, "lost")
            disconnect(postgres_server)
            tx.one("SELECT 1")
        assert raised.value.hint
        assert count(store, "workspaces") == 0

    def test_a_connection_that_is_lost_at_the_end_is_told(
        self, store: PostgresRelationalStore, postgres_server: PostgresServer
    ) -> None:
        with pytest.raises(Unavailable), store.write() as tx:
            access.create_workspace(tx, "lost")
            disconnect(postgres_server)
        assert count(store, "workspaces") == 0

    def test_a_server_that_is_not_there_is_told_without_the_password(self) -> None:
        with pytest.raises(Unavailable, match="127.0.0.1:9/none cannot be reached") as raised:
            PostgresRelationalStore(NOWHERE)
        assert raised.value.hint
        assert "a-secret" not in told(raised.value)

    @pytest.mark.parametrize("address", [
        "postgresql://pegasus:a-secret@127.0.0.1:port/x", "postgresql://pegasus:a-secret@[::1/x",
        "postgresql://pegasus:a-secret@127.0.0.1/x?no_such_option=1", "postgresql://pegasus:a-secret%zz@127.0.0.1/x",
        "pegasus a-secret",
    ])  # fmt: skip
    def test_an_address_that_is_none_is_told_without_the_password(self, address: str) -> None:
        with pytest.raises((Misconfigured, Unavailable)) as raised:
            PostgresRelationalStore(address)
        assert "a-secret" not in told(raised.value)

    def test_a_server_that_falls_silent_is_given_up_and_used_again_when_it_is_back(
        self, store: PostgresRelationalStore, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_connection, "SILENCE_SECONDS", 0.5)
        monkeypatch.setattr(postgres_connection, "ANSWER_SECONDS", 0.5)
        two_workspaces(store)
        postgres_server.send(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(Unavailable, match="fallen silent|cannot be reached"):
                count(store, "workspaces")
            assert time.monotonic() - begun < 10
        finally:
            postgres_server.send(signal.SIGCONT)
        assert count(store, "workspaces") == 2

    def test_a_server_that_falls_silent_in_a_transaction_is_given_up_too(
        self, store: PostgresRelationalStore, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_connection, "SILENCE_SECONDS", 0.5)
        monkeypatch.setattr(postgres_connection, "ANSWER_SECONDS", 0.5)
        begun = time.monotonic()
        try:
            with pytest.raises(Unavailable, match="fallen silent"), store.read() as tx:
                assert tx.one("SELECT 1 AS n") == {"n": 1}
                postgres_server.send(signal.SIGSTOP)
                begun = time.monotonic()
                tx.one("SELECT count(*) AS n FROM workspaces WHERE id <> :id", {"id": "none"})
            assert time.monotonic() - begun < 10
        finally:
            postgres_server.send(signal.SIGCONT)
        assert count(store, "workspaces") == 0

    def test_a_server_that_works_for_long_is_waited_for(
        self, store: PostgresRelationalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_connection, "SILENCE_SECONDS", 0.2)
        with store.read() as tx:
            assert tx.one("SELECT 1 AS done FROM pg_sleep(1.5)") == {"done": 1}

    def test_callers_do_not_queue_for_a_server_that_is_known_to_be_away(
        self, postgres_database: str, postgres_server: PostgresServer
    ) -> None:
        with proxy_to(postgres_server.port) as proxy:
            store = PostgresRelationalStore(postgres_database.replace(f":{postgres_server.port}/", f":{proxy.port}/"))
            proxy.refuse()
            until = time.monotonic() + 30
            while True:
                begun = time.monotonic()
                try:
                    store.ping()
                except Unavailable:
                    if time.monotonic() - begun < 1:
                        break
                assert begun < until
            proxy.listen()
            while True:
                with suppress(Unavailable):
                    store.ping()
                    break
                assert time.monotonic() < until
            store.close()

    def test_a_wrong_password_and_a_database_that_is_not_there_are_told(self, postgres_server: PostgresServer) -> None:
        for address in (
            postgres_server.url("postgres").replace("a-password", "wrong"),
            postgres_server.url("no_such_database"),
        ):
            with pytest.raises(Misconfigured, match="refuses") as raised:
                PostgresRelationalStore(address)
            assert "%2Bthat" not in told(raised.value)
            assert "+that" not in told(raised.value)

    def test_the_driver_logs_no_password(
        self, store: PostgresRelationalStore, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            disconnect(postgres_server)
            two_workspaces(store)
        assert PASSWORD not in caplog.text
        assert "%2Bthat" not in caplog.text

    def test_a_statement_that_takes_too_long_is_ended(
        self, store: PostgresRelationalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "_STATEMENT_SECONDS", 1)
        with pytest.raises(TimedOut), store.read() as tx:
            tx.all("SELECT pg_sleep(30)")

    def test_who_waits_too_long_for_other_writers_is_told(
        self, store: PostgresRelationalStore, other: PostgresRelationalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "_WRITERS_WAIT_SECONDS", 1)
        with store.write(), pytest.raises(Unavailable, match="lock timeout"), other.write():
            pass

    def test_nothing_stays_in_the_session(self, store: PostgresRelationalStore) -> None:
        """What PgBouncer in transaction mode and RDS Proxy take no notice of, or keep a connection for."""
        one, _ = two_workspaces(store)
        for _ in range(10):
            count(store, "workspaces", one)
        with store._readers.connection() as connection:
            assert connection.execute("SELECT count(*) AS n FROM pg_prepared_statements").fetchone() == {"n": 0}
            assert connection.execute("SELECT current_setting('pegasus.workspace', true) AS w").fetchone()["w"] in (
                "", None,
            )  # fmt: skip
            assert connection.execute("SHOW statement_timeout").fetchone() == {"statement_timeout": "0"}
        with store._writers.connection() as connection:
            locks = connection.execute("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'").fetchone()
            assert locks == {"n": 0}

    def test_a_failed_statement_is_not_committed_even_if_nobody_minds(self, store: PostgresRelationalStore) -> None:
        with pytest.raises(Unavailable, match="nothing of it was kept"), store.write() as tx:
            access.create_workspace(tx, "lost")
            with suppress(psycopg.IntegrityError):
                tx.execute("INSERT INTO workspaces (id) VALUES (:id)", {"id": new_id()})
        assert count(store, "workspaces") == 0


def told(error: BaseException) -> str:
    """All that a traceback of it would show."""
    return "".join(traceback.format_exception(error))
