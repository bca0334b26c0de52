"""A data directory of an older version is upgraded in place, and what it had goes on."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.application import Application
from pegasus.bootstrap import embedded
from pegasus.domain import JobState
from pegasus.identifiers import new_id
from pegasus.jobs import service as jobs
from pegasus.settings import load_settings

pytestmark = pytest.mark.embedded("it is about SQLite's own file")


def states(application: Application, workspace_id: str) -> dict[str, JobState]:
    with application.relational.read() as tx:
        return {job.kind: job.state for job in jobs.list_page(tx, workspace_id, None, None, None, 50).items}


@pytest.mark.parametrize("revision", ["0001"])
def test_jobs_of_an_older_schema_are_kept_and_run(tmp_path: Path, revision: str) -> None:
    store = SqliteRelationalStore(tmp_path / "pegasus.sqlite3")
    store.migrate(revision)
    store.close()
    workspace_id, now = new_id(), time.time()
    with closing(sqlite3.connect(tmp_path / "pegasus.sqlite3")) as old, old:
        old.execute("INSERT INTO workspaces VALUES (?, 'local', ?)", (workspace_id, now))
        for kind, state, lane, step, owner in (
            ("ingest", "queued", "index", "embed", None),
            ("erase", "running", "index", "erase", "index-killed"),
            ("batch", "running", "read", "accepting", None),
            ("unpack", "dead", "read", "unpack", None),
        ):
            old.execute(
                "INSERT INTO jobs (id, workspace_id, kind, state, lane, step, priority, attempts, document_id, version,"
                " progress, payload, lease_owner, lease_until, run_after, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 0, 1, ?, 1, '{}', '{\"file_key\": \"none\"}', ?, ?, ?, ?, ?)",
                (new_id(), workspace_id, kind, state, lane, step, new_id(), owner, owner and now + 9, now, now, now),
            )
    with embedded(load_settings(data=tmp_path, embedder="hash")) as application:
        until = time.monotonic() + 20
        while set(states(application, workspace_id).values()) & {JobState.QUEUED, JobState.RUNNING}:
            assert time.monotonic() < until, states(application, workspace_id)
            time.sleep(0.05)
        assert states(application, workspace_id) == {
            "ingest": "succeeded", "erase": "succeeded", "batch": "succeeded", "unpack": "dead",
        }  # fmt: skip
