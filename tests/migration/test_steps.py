"""Steps of every kind on both databases: interrupted, at once, in the way of others, and ahead of the code."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from pegasus import migrations
from pegasus.adapters import postgres_schema, sqlite_schema
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.errors import Conflict, Misconfigured, Unavailable
from pegasus.migrations import HEAD, plan, runner
from pegasus.migrations.steps import Backfill, Step
from pegasus.ports import RelationalStore, SchemaState
from pegasus.telemetry import configure_logging

ROWS = 100_000
NOTES = Step(
    "expand",
    ("CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT NOT NULL, filled INTEGER NOT NULL DEFAULT 0)",),
)
INDEX = Step("expand", indexes=("CREATE INDEX notes_by_body ON notes (body)",))
UNIQUE = Step("expand", indexes=("CREATE UNIQUE INDEX notes_by_body ON notes (body)",))
FILL = Step("expand", backfill=Backfill("notes", "id", "filled = filled + 1"))
CONTRACT = Step("contract", ("ALTER TABLE notes DROP COLUMN filled",), compatible_from="9001")
KILLED = """
from pathlib import Path
from pegasus import migrations
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.sqlite import SqliteRelationalStore

migrations.FOLDERS = (*migrations.FOLDERS, {folder!r})
{store}.migrate("9002", lambda what, done, _: print(what, done, flush=True))
"""
OpenStore = Callable[[], RelationalStore]
Extend = Callable[..., None]


@pytest.fixture
def extend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Extend:
    """Makes this the code of a later version, which has steps 9001, 9002 ... after those that there are."""
    return partial(make_later, monkeypatch, tmp_path)


def make_later(patch: pytest.MonkeyPatch, folder: Path, *steps: Step) -> None:
    before = HEAD
    for number, step in enumerate(steps, 9001):
        (folder / f"{number}_step.py").write_text(
            f'"""Step {number}."""\nfrom pegasus.migrations.steps import Backfill, Step\n'
            f"revision, down_revision = '{number}', '{before}'\nstep = {step!r}\nupgrade = step.run\n"
        )
        before = str(number)
    patch.setattr(migrations, "FOLDERS", (*migrations.FOLDERS, str(folder)))
    patch.setattr(migrations, "HEAD", before)


@pytest.fixture(params=["sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens one more time a database whose schema is at the newest revision."""
    if request.param == "sqlite":
        place = tmp_path / "pegasus.sqlite3"
        place.write_bytes(request.getfixturevalue("migrated").read_bytes())
    else:
        place = request.getfixturevalue("postgres_database")
    with ExitStack() as opened:

        def open_one() -> RelationalStore:
            one = SqliteRelationalStore(place) if isinstance(place, Path) else PostgresRelationalStore(place, 2)
            return opened.enter_context(closing(one))

        yield open_one


@pytest.fixture
def store(open_store: OpenStore) -> RelationalStore:
    return open_store()


def add_notes(store: RelationalStore, rows: int) -> None:
    with store.write() as tx:
        tx.execute(
            "INSERT INTO notes (id, body)"
            " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
            " SELECT 'n' || i, 'note ' || (i / 2) FROM n",
            {"rows": rows},
        )


def filled(store: RelationalStore) -> dict[int, int]:
    """How many rows were gone through how often."""
    with store.read() as tx:
        return {row["filled"]: row["n"] for row in tx.all("SELECT filled, count(*) AS n FROM notes GROUP BY filled")}


class Interrupted(BaseException):
    """As Ctrl-C is."""


class TestBackfill:
    def test_a_hundred_thousand_rows_beside_writers_and_after_an_interruption(
        self, store: RelationalStore, extend: Extend
    ) -> None:
        extend(NOTES, FILL)
        store.migrate("9001")
        add_notes(store, ROWS)
        told: list[tuple[int, int]] = []

        def interrupt(what: str, done: int, total: int) -> None:
            if what == "Rows of notes":
                told.append((done, total))
                if len(told) % 10 == 0:  # Somebody works meanwhile, and in the rows that are being filled.
                    with store.write() as tx:
                        tx.execute("UPDATE notes SET body = 'mine' WHERE id = 'n1'")
                if done >= ROWS * 0.4:
                    raise Interrupted

        with pytest.raises(Interrupted):
            store.migrate("9002", interrupt)
        assert store.schema().revision == "9001"
        assert filled(store) == {0: ROWS * 6 // 10, 1: ROWS * 4 // 10}
        began = len(told)
        store.migrate("9002", lambda what, done, total: told.append((done, total)) if what == "Rows of notes" else None)
        assert told[began] == (ROWS * 4 // 10 + runner.BATCH_ROWS, ROWS)
        assert told[-1] == (ROWS, ROWS)
        # Each exactly once.
        assert filled(store) == {1: ROWS}
        assert store.schema().revision == "9002"

    def test_one_that_is_killed_is_finished_by_the_next(
        self, open_store: OpenStore, extend: Extend, tmp_path: Path
    ) -> None:
        extend(NOTES, FILL)
        store = open_store()
        store.migrate("9001")
        add_notes(store, 20_000)
        opened = (
            f"SqliteRelationalStore(Path({str(store._path)!r}))"
            if isinstance(store, SqliteRelationalStore)
            else (f"PostgresRelationalStore({store._address!r}, 1)")
        )
        killed = subprocess.Popen(
            [sys.executable, "-c", KILLED.format(folder=str(tmp_path), store=opened)], stdout=subprocess.PIPE, text=True
        )
        assert killed.stdout
        for line in killed.stdout:
            if line.startswith("Rows of notes 3000"):
                killed.kill()
        assert killed.wait(30) == -signal.SIGKILL
        killed.stdout.close()
        assert 1 in filled(store)
        store.migrate("9002")
        assert filled(store) == {1: 20_000}

    def test_several_that_fill_at_once_share_the_work(self, open_store: OpenStore, extend: Extend) -> None:
        extend(NOTES, FILL)
        stores = [open_store() for _ in range(3)]
        stores[0].migrate("9001")
        add_notes(stores[0], 20_000)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda one: one.migrate("9002"), stores, timeout=100))
        assert filled(stores[0]) == {1: 20_000}
        assert {one.schema().revision for one in stores} == {"9002"}

    def test_numbers_as_keys_and_rows_that_need_nothing(self, store: RelationalStore, extend: Extend) -> None:
        numbers = Step("expand", ("CREATE TABLE numbers (n INTEGER PRIMARY KEY, even INTEGER)",))
        extend(numbers, Step("expand", backfill=Backfill("numbers", "n", "even = 1", "n % 2 = 0")))
        store.migrate("9001")
        with store.write() as tx:
            tx.execute_many("INSERT INTO numbers (n) VALUES (:n)", [{"n": n} for n in (-(2**40), -1, 0, 1, 2**40)])
        store.migrate("9002")
        with store.read() as tx:
            assert [row["n"] for row in tx.all("SELECT n FROM numbers WHERE even = 1 ORDER BY n")] == [
                -(2**40), 0, 2**40,
            ]  # fmt: skip


class TestIndexes:
    def test_one_is_made_and_is_no_drift(self, store: RelationalStore, extend: Extend) -> None:
        extend(NOTES, INDEX)
        store.migrate("9002")
        assert store.drift() == []

    def test_what_an_attempt_left_is_made_anew(self, store: RelationalStore, extend: Extend) -> None:
        extend(NOTES, UNIQUE)
        store.migrate("9001")
        add_notes(store, 10)
        with pytest.raises(Conflict, match="schema stays at revision 9001") as caught:
            store.migrate("9002")
        assert "mended" in str(caught.value.hint)
        with store.write() as tx:
            tx.execute("UPDATE notes SET body = id")
        store.migrate("9002")
        assert store.drift() == []
        assert store.damage() == []

    def test_in_postgresql_others_write_meanwhile(self, postgres_database: str, extend: Extend) -> None:
        extend(NOTES, INDEX)
        with closing(PostgresRelationalStore(postgres_database)) as store, ThreadPoolExecutor(1) as pool:
            store.migrate("9001")
            # The index waits for this transaction; an ordinary one would make all behind it wait, too.
            with store.write(alone=False) as tx:
                tx.execute("INSERT INTO notes (id, body) VALUES ('a', 'before')")
                made = pool.submit(store.migrate, "9002")
                wait_until(lambda: waits_for_others(store))
                with store.write(alone=False) as other:
                    other.execute("INSERT INTO notes (id, body) VALUES ('b', 'meanwhile')")
                assert not made.done()
            made.result(60)
            assert store.drift() == []


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def waits_for_others(store: RelationalStore) -> bool:
    with store.read() as tx:
        return bool(
            tx.all(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                " AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
            )
        )


class TestInTheWay:
    def test_a_step_comes_again_until_the_others_are_done(
        self, open_store: OpenStore, extend: Extend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_schema, "_LOCK_SECONDS", 1)
        monkeypatch.setattr(sqlite_schema, "_LOCK_SECONDS", 1)
        waited = threading.Event()
        sleep = time.sleep

        def pause(seconds: float) -> None:
            waited.set()
            sleep(0.05)

        monkeypatch.setattr(runner.time, "sleep", pause)
        extend(Step("expand", ("ALTER TABLE workspaces ADD COLUMN colour TEXT",)))
        one, other = open_store(), open_store()
        with ThreadPoolExecutor(1) as pool:
            with other.write() as tx:
                tx.execute("UPDATE workspaces SET name = name")
                taken = pool.submit(one.migrate, "9001")
                assert waited.wait(30)
            taken.result(60)
        assert one.schema().revision == "9001"

    def test_it_gives_up_in_time_and_says_so(
        self, open_store: OpenStore, extend: Extend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_schema, "_LOCK_SECONDS", 1)
        monkeypatch.setattr(sqlite_schema, "_LOCK_SECONDS", 1)
        monkeypatch.setattr(runner, "TRIES", 2)
        extend(NOTES, Step("expand", ("ALTER TABLE workspaces ADD COLUMN colour TEXT",)))
        one, other = open_store(), open_store()
        one.migrate("9001")
        with other.write() as tx:
            tx.execute("UPDATE workspaces SET name = name")
            with pytest.raises(Unavailable, match="stays at revision 9001") as caught:
                one.migrate("9002")
        assert "again" in str(caught.value.hint)
        one.migrate("9002")
        assert one.drift() == []

    def test_who_lost_the_lock_does_not_go_on(self, postgres_database: str, extend: Extend) -> None:
        extend(NOTES, FILL)
        with closing(PostgresRelationalStore(postgres_database)) as store:
            store.migrate("9001")
            add_notes(store, 5_000)

            def lose(what: str, done: int, _total: int) -> None:
                if what == "Rows of notes":
                    with store.write() as tx:
                        tx.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = :n",
                            {"n": postgres_schema._LOCK},
                        )

            with pytest.raises(Unavailable):
                store.migrate("9002", lose)
            assert store.schema().revision == "9001"
            store.migrate("9002")
            assert filled(store) == {1: 5_000}


class TestContract:
    def test_it_waits_until_it_is_asked_for(self, store: RelationalStore, extend: Extend) -> None:
        extend(NOTES, CONTRACT)
        assert [step.revision for step in plan.upgrade(store, contract=False)] == ["9001"]
        assert plan.upgrade(store, contract=False) == ()
        plan.require(store)  # New code runs while it is pending.
        assert plan.report(store.schema())["pending"] == [
            {"revision": "9002", "phase": "contract", "title": "Step 9002"}
        ]
        assert [step.revision for step in plan.upgrade(store, contract=True)] == ["9002"]
        assert store.schema() == SchemaState("9002", "9001")
        assert store.drift() == []

    def test_what_comes_after_it_is_not_had_without_it(self, store: RelationalStore, extend: Extend) -> None:
        extend(NOTES, CONTRACT, INDEX)
        with pytest.raises(Conflict, match="9003, which comes after the contract step 9002") as caught:
            plan.upgrade(store, contract=False)
        assert "--contract" in str(caught.value.hint)
        assert store.schema().revision == HEAD
        plan.upgrade(store, contract=True)
        assert store.schema() == SchemaState("9003", "9001")

    def test_code_refuses_a_schema_that_lacks_what_it_needs(self, store: RelationalStore, extend: Extend) -> None:
        extend(NOTES, CONTRACT, INDEX)
        with pytest.raises(Misconfigured, match=f"at revision {HEAD}; this version of Pegasus needs 9003") as caught:
            plan.require(store)
        assert "pegasus schema upgrade" in str(caught.value.hint)


class TestOlderCode:
    def test_it_runs_on_a_schema_that_was_expanded(
        self, store: RelationalStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.MonkeyPatch.context() as later:
            make_later(later, tmp_path, NOTES, INDEX)
            store.migrate("9002")
        configure_logging("info", "text")
        capfd.readouterr()
        store.migrate(HEAD)
        (line,) = capfd.readouterr().err.splitlines()
        assert "schema.is_newer" in line
        plan.require(store)
        assert store.schema() == SchemaState("9002", migrations.BASELINE)
        report = plan.report(store.schema())
        assert (report["newer"], report["runs"], report["pending"]) == (True, True, [])

    def test_it_refuses_one_that_was_contracted(self, store: RelationalStore, tmp_path: Path) -> None:
        with pytest.MonkeyPatch.context() as later:
            make_later(later, tmp_path, NOTES, CONTRACT)
            store.migrate("9002")
        for refused in (lambda: store.migrate(HEAD), lambda: plan.require(store)):
            with pytest.raises(Misconfigured, match="9002, on which only code for 9001 and later runs") as caught:
                refused()
            assert "newer version" in str(caught.value.hint)
        assert plan.report(store.schema())["runs"] is False


def test_the_head_is_the_last_step() -> None:
    assert migrations.revisions()[-1] == HEAD
    assert migrations.BASELINE in migrations.revisions()
