"""pegasus schema: what it tells, what it does, and how it ends, on either database.

The commands run in the test's own process; ``migration/test_previous_release.py`` has them in theirs.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from postgresql import PASSWORD, PostgresServer

from pegasus import cli
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.migrations import HEAD, revisions

pytestmark = pytest.mark.embedded("it makes its databases itself, of both kinds")


Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(data: Path, *arguments: str, **settings: str) -> CompletedProcess[str]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PEGASUS_DATA", str(data))
        monkeypatch.setattr(sys, "argv", ["pegasus", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return CompletedProcess(arguments, int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory at an older schema."""
    store = SqliteRelationalStore(tmp_path / "pegasus.sqlite3")
    store.migrate(revisions()[-3])
    store.close()
    return tmp_path


def sql(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "pegasus.sqlite3")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_schema_is_looked_at_brought_forward_and_checked(command: Command, data: Path) -> None:
    before = command(data, "schema", "current")
    assert before.returncode == 0, before.stderr
    assert revisions()[-3] in before.stdout
    assert f"  {HEAD}  expand" in before.stdout
    assert "Next: pegasus schema upgrade" in before.stdout
    unchecked = command(data, "schema", "check", "--json")
    assert unchecked.returncode == 1
    assert json.loads(unchecked.stdout)["drift"] == []
    taken = command(data, "schema", "upgrade")
    assert taken.returncode == 0, taken.stderr
    assert taken.stdout.count("expand") == 2
    assert "Pending:      nothing" in taken.stdout
    assert json.loads(command(data, "schema", "upgrade", "--json").stdout)["taken"] == []
    checked = command(data, "schema", "check")
    assert checked.returncode == 0, checked.stdout
    assert "Drift:        none" in checked.stdout


def test_what_somebody_changed_by_hand_is_told_by_name(command: Command, migrated: Path, tmp_path: Path) -> None:
    (tmp_path / "pegasus.sqlite3").write_bytes(migrated.read_bytes())
    sql(
        tmp_path,
        "DROP INDEX jobs_dead",
        "DROP TABLE backups",
        "DROP TRIGGER audit_events_are_not_deleted",
        "ALTER TABLE jobs DROP COLUMN started_at",
        "ALTER TABLE jobs ADD COLUMN mine TEXT",
    )
    checked = command(tmp_path, "schema", "check", "--json")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["drift"] == [
        "the trigger audit_events_are_not_deleted of audit_events is missing",
        "the table backups is missing",
        "the column started_at of jobs is missing",
        "the index jobs_dead of jobs is missing",
        "the column mine of jobs is there, and no step made it",
    ]


def test_a_schema_of_a_newer_version(command: Command, migrated: Path, tmp_path: Path) -> None:
    (tmp_path / "pegasus.sqlite3").write_bytes(migrated.read_bytes())
    sql(
        tmp_path,
        "UPDATE alembic_version SET version_num = '9001'",
        f"INSERT INTO schema_steps (revision, compatible_from) VALUES ('9001', '{HEAD}')",
    )
    current = command(tmp_path, "schema", "current")
    assert (current.returncode, "this one runs on it" in current.stdout) == (0, True)
    assert command(tmp_path, "schema", "upgrade").returncode == 0
    # What it should be, only the newer version knows.
    assert command(tmp_path, "schema", "check").returncode == 1
    sql(tmp_path, "UPDATE schema_steps SET compatible_from = '9001' WHERE revision = '9001'")
    assert "does not run on it" in command(tmp_path, "schema", "current").stdout
    for arguments in (["schema", "upgrade"], ["backup", str(tmp_path / "saved")], ["search", "anything"]):
        refused = command(tmp_path, *arguments)
        assert refused.returncode == 2, refused.stdout
        assert "only code for 9001 and later runs" in refused.stderr
        assert "Next:  Run a newer version" in refused.stderr


def test_where_there_is_nothing(command: Command, tmp_path: Path) -> None:
    for name in ("current", "upgrade", "check"):
        told = command(tmp_path / "nowhere", "schema", name)
        assert told.returncode == 1
        assert "There is nothing in" in told.stderr
    assert not (tmp_path / "nowhere").exists()


def test_roles_are_made_in_postgresql_with_what_is_told_in_the_environment_alone(
    command: Command, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """As a container of the deployment is told: an address without a login, which libpq has from elsewhere."""
    name = postgres_server.create()
    url = f"postgresql://127.0.0.1:{postgres_server.port}/{name}"
    told = {"DATABASE_URL": url, "PGUSER": f"{name}_app", "PGPASSWORD": "the-application's"}
    arguments = ("schema", "roles", f"{name}_app", f"{name}_app_clone", "--owner", f"{name}_owner")

    untold = command(tmp_path, *arguments, **told)
    assert untold.returncode == 2
    assert "PEGASUS_DATABASE_ADMIN_USER" in untold.stderr
    told |= {"PEGASUS_DATABASE_ADMIN_USER": "postgres", "PEGASUS_DATABASE_ADMIN_PASSWORD": PASSWORD}
    made = command(tmp_path, *arguments, **told)
    assert made.returncode == 0, made.stderr
    assert f"Made:     {name}_owner, {name}_app, {name}_app_clone" in made.stdout
    assert "Password: set" in made.stdout
    again = command(tmp_path, *arguments, "--json", **told)
    assert json.loads(again.stdout) == {
        "owner": f"{name}_owner", "logins": [f"{name}_app", f"{name}_app_clone"], "made": [], "password_set": False,
    }  # fmt: skip
    upgraded = command(tmp_path, "schema", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    printed = untold.stderr + made.stdout + made.stderr + again.stdout
    assert PASSWORD not in printed
    assert "the-application's" not in printed
    postgres_server.drop(name)


def test_in_postgresql(command: Command, postgres_server: PostgresServer, tmp_path: Path) -> None:
    database = {"DATABASE_URL": postgres_server.url(postgres_server.create())}
    # Who shares a database does not change its schema on the way.
    refused = command(tmp_path, "backup", str(tmp_path / "saved"), **database)
    assert refused.returncode == 1, refused.stderr
    assert "Next:  " in refused.stderr
    assert "pegasus schema upgrade" in refused.stderr
    assert command(tmp_path, "schema", "check", **database).returncode == 1
    taken = command(tmp_path, "schema", "upgrade", "--json", **database)
    assert taken.returncode == 0, taken.stderr
    assert [step["revision"] for step in json.loads(taken.stdout)["taken"]] == revisions()
    assert command(tmp_path, "schema", "check", **database).returncode == 0
    away = command(tmp_path, "schema", "current", DATABASE_URL="postgresql://pegasus@127.0.0.1:9/pegasus")
    assert away.returncode == 1
    assert "cannot be reached" in away.stderr
