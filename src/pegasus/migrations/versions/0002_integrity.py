"""Full text over a view of each workspace's passages, so that it can be checked and rebuilt; erasure receipts."""

from typing import Any

from alembic import op

from pegasus.migrations.steps import Step

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "CREATE INDEX passages_by_workspace ON passages (workspace_id, seq)",
    # What was erased is told by counts and ids only: a receipt must not keep what it says is gone.
    """CREATE TABLE erasures (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        scope TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        requested_at DOUBLE PRECISION NOT NULL,
        removed TEXT NOT NULL,
        checks TEXT NOT NULL,
        verified_at DOUBLE PRECISION,
        purged_at DOUBLE PRECISION
    )""",
    "CREATE INDEX erasures_by_workspace ON erasures (workspace_id, id)",
    "CREATE INDEX erasures_by_subject ON erasures (workspace_id, subject_id)",
    "CREATE INDEX erasures_to_purge ON erasures (requested_at) WHERE purged_at IS NULL",
)


step = Step("expand", STATEMENTS)


def upgrade() -> None:
    step.run()
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _index_words_over_views(connection.connection.dbapi_connection)


def _index_words_over_views(connection: Any) -> None:
    """An index over the whole table could neither be rebuilt nor compared without the rows of other workspaces."""
    for (workspace_id,) in connection.execute("SELECT id FROM workspaces").fetchall():
        name = workspace_id.replace("-", "")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (f"words_{name}",)).fetchone():
            continue
        for statement in (
            f"DROP TABLE words_{name}",
            f"DROP VIEW IF EXISTS passages_{name}",
            f"CREATE VIEW passages_{name} AS SELECT seq, title, heading, text FROM passages"
            f" WHERE workspace_id = '{workspace_id}'",
            f"CREATE VIRTUAL TABLE words_{name} USING fts5(title, heading, text, content='passages_{name}',"
            " content_rowid='seq', tokenize='porter unicode61 remove_diacritics 2')",
            f"INSERT INTO words_{name} (words_{name}) VALUES ('rebuild')",
        ):
            connection.execute(statement)
