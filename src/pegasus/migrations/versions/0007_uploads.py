"""Uploads: files that were announced, and that clients put where files are kept by themselves."""

from pegasus.migrations.steps import Step

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """CREATE TABLE uploads (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
        filename TEXT,
        content_type TEXT,
        size_bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        token_sha256 TEXT NOT NULL,
        taken_at DOUBLE PRECISION
    )""",
)
step = Step("expand", STATEMENTS)
upgrade = step.run
