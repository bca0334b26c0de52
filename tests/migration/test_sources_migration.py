"""A data directory of the first schema, with data, comes to have sources; what it had stays as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pegasus.access import service as access
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.documents import service as documents
from pegasus.domain import Lane
from pegasus.ingestion import intake
from pegasus.jobs import service as jobs
from pegasus.migrations import HEAD
from pegasus.sources import service

TABLES = ["workspaces", "documents", "document_uris", "document_versions", "passages", "jobs"]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[SqliteRelationalStore]:
    """A store of the first schema with what one had: rows of today's code, in the columns that were there then."""
    today = SqliteRelationalStore(tmp_path / "today.sqlite3")
    today.migrate(HEAD)
    with today.write() as tx:
        workspace_id = access.create_workspace(tx, "old")
        added = intake.add_text(
            tx, workspace_id, documents.new_text("An old note.", None, "note://old", max_characters=100)
        )
        jobs.enqueue(tx, workspace_id, "erase", Lane.INDEX, "erase", document_id=added.document.id)
    today.close()
    store = SqliteRelationalStore(tmp_path / "pegasus.sqlite3")
    store.migrate("0001")
    with closing(sqlite3.connect(tmp_path / "pegasus.sqlite3")) as connection, connection:
        connection.execute("ATTACH ? AS today", (str(tmp_path / "today.sqlite3"),))
        for table in TABLES:
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM today.{table}")
    yield store
    store.close()


def rows(path: Path, tables: list[str]) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


def test_a_directory_of_the_first_schema_upgrades_in_place(old: SqliteRelationalStore, tmp_path: Path) -> None:
    before = rows(tmp_path / "pegasus.sqlite3", TABLES)
    assert all(before.values())
    workspace_id = str(before["workspaces"][0][0])
    old.migrate(HEAD)
    after = rows(tmp_path / "pegasus.sqlite3", TABLES)
    # Columns may have come; what was there is as it was.
    assert {name: [row[: len(before[name][0])] for row in after[name]] for name in TABLES} == before
    with old.write() as tx:
        source = service.create(
            tx,
            workspace_id,
            "page",
            {"kind": "page", "url": "https://example.org/"},
            (),
            None,
            operator=False,
            folders=[],
        )
        job = service.start(tx, workspace_id, source.id)
        assert service.run_of(tx, job).source_id == source.id
        # As the code before sources takes a document in, which knows nothing of them.
        intake.add_text(tx, workspace_id, documents.new_text("A new note.", None, max_characters=100))
