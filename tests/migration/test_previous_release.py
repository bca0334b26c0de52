"""The release before this one goes on running while its schema is brought forward, and after it; then this one goes on.

The schema is that of this code and one expand step more, which does to every table what an expand step may do. So the
pair is tested although the code in ``tests/data/previous-release.zip`` may know all of today's steps.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import previous_release
import pytest
from conftest import finished
from postgresql import PostgresServer
from processes import ServerProcess, command

import pegasus
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.client import Client
from pegasus.migrations import HEAD, revisions
from pegasus.migrations.steps import Step
from pegasus.ports import Table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.embedded("it makes its databases itself, of both kinds"),
    pytest.mark.timeout(600),
]

LATER = "9001"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return previous_release.unpack(tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """This code with one step more."""
    folder = tmp_path_factory.mktemp("next")
    package = Path(pegasus.__file__).parent
    shutil.copytree(package, folder / "pegasus", ignore=shutil.ignore_patterns("__pycache__"))
    head = folder / "pegasus/migrations/__init__.py"
    head.write_text(re.sub(r'(?m)^HEAD = ".*"$', f'HEAD = "{LATER}"', head.read_text()))
    store = SqliteRelationalStore(migrated)
    step = every_expansion([table for table in store.tables() if table.name != "alembic_version"])
    store.close()
    (folder / f"pegasus/migrations/versions/{LATER}_everywhere.py").write_text(
        f'"""Something more everywhere."""\nfrom pegasus.migrations.steps import Step\n'
        f"revision, down_revision = {LATER!r}, {HEAD!r}\nstep = {step!r}\nupgrade = step.run\n"
    )
    return folder


def every_expansion(tables: list[Table]) -> Step:
    columns = [
        f"ALTER TABLE {table.name} ADD COLUMN {column}"
        for table in tables
        for column in ("later_text TEXT", "later_number INTEGER NOT NULL DEFAULT 7")
    ]
    indexes = [f"CREATE INDEX {table.name}_later ON {table.name} (later_number, later_text)" for table in tables]
    # What newer code hangs on a document, and older code knows nothing of when it erases the document.
    remarks = (
        "CREATE TABLE remarks (document_id TEXT PRIMARY KEY REFERENCES documents(id) ON DELETE CASCADE,"
        " workspace_id TEXT NOT NULL, remark TEXT NOT NULL)",
        "INSERT INTO remarks SELECT id, workspace_id, 'a remark' FROM documents",
    )
    return Step("expand", (*columns, *indexes, *remarks))


@dataclass(frozen=True)
class Installation:
    data: Path
    settings: Mapping[str, str]

    def process(self, code: Path) -> ServerProcess:
        log = self.data.with_name(f"{code.name}.log")
        return ServerProcess(self.data, log, PYTHONPATH=str(code), PEGASUS_LOG_LEVEL="info", **self.settings)

    def run(self, code: Path, *arguments: str) -> str:
        done = command(self.data, *arguments, PYTHONPATH=str(code), PEGASUS_LOG_LEVEL="error", **self.settings)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(params=["sqlite", "postgres"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    settings = {}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        settings["DATABASE_URL"] = server.url(server.create())
    return Installation(tmp_path / "data", settings)


@pytest.fixture
def running(installation: Installation, old: Path, new: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    processes = installation.process(old), installation.process(new)
    yield processes
    for process in processes:
        process.end(signal.SIGKILL)


def add(client: Client, text: str) -> str:
    added = client.call("POST", "/v1/documents", json={"text": text})
    assert finished(client, added["job"]["id"])["state"] == "succeeded"
    return str(added["job"]["document_id"])


def erase(client: Client, document_id: str) -> None:
    job = client.call("DELETE", f"/v1/documents/{document_id}")["job"]
    assert finished(client, job["id"])["state"] == "succeeded"
    assert client.call("GET", f"/v1/erasures/{job['id']}")["verified_at"]


def finds(client: Client, words: str) -> list[str]:
    found = client.call("POST", "/v1/search", json={"query": words, "mode": "lexical"})["passages"]
    return [passage["document_id"] for passage in found]


def answers(client: Client, question: str) -> str:
    return str(client.call("POST", "/v1/ask", json={"question": question})["answer"])


def test_old_code_bears_the_new_schema_and_new_code_goes_on(
    installation: Installation, running: tuple[ServerProcess, ServerProcess], old: Path, new: Path, tmp_path: Path
) -> None:
    before, after = running
    with closing(before.start()) as client:
        kept = add(client, "Ada Lovelace wrote the first program.")
        gone = add(client, "This page is to be forgotten.")
        # The schema is brought forward under the old code's feet, which notices nothing.
        report = json.loads(installation.run(new, "schema", "upgrade", "--json"))
        assert report["taken"][-1]["revision"] == LATER
        erase(client, gone)
        meanwhile = add(client, "Grace Hopper found a moth in the relay.")
        assert finds(client, "moth relay") == [meanwhile]
        assert "first program" in answers(client, "Who wrote the first program?")
    before.end()
    assert "schema.is_newer" not in before.log
    # And it starts on it.
    with closing(before.start()) as client:
        assert before.log.count("schema.is_newer") == 1
        afterwards = add(client, "Alan Turing ran to the station.")
        erase(client, meanwhile)
        assert client.call("GET", "/v1/integrity")["consistent"]
        if not installation.settings:  # A backup is made and tried out the same way wherever rows are.
            installation.run(old, "backup", str(tmp_path / "by-the-old"))
    before.end()
    with closing(after.start()) as client:
        assert finds(client, "Ada program") == [kept]
        assert finds(client, "Turing station") == [afterwards]
        assert finds(client, "moth relay") == finds(client, "forgotten page") == []
        added = add(client, "Katherine Johnson checked the numbers.")
        assert finds(client, "Katherine numbers") == [added]
        assert client.call("GET", "/v1/integrity")["consistent"]
    after.end()
    assert json.loads(installation.run(new, "schema", "check", "--json"))["in_step"]
    if not installation.settings:
        drill = installation.run(new, "restore", "--drill", "--json", str(tmp_path / "by-the-old"))
        assert json.loads(drill)["passed"]


def test_the_previous_release_is_kept_in_the_tree() -> None:
    """Kept anew by: make previous-release"""
    assert previous_release.ARCHIVE.stat().st_size < 500_000
    assert previous_release.head() in revisions()
