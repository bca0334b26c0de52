"""Which backups were made: an erasure has to tell which of them still hold what is erased."""

from pegasus.migrations.steps import Step

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """CREATE TABLE backups (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        expires_at DOUBLE PRECISION,
        sha256 TEXT,
        size_bytes BIGINT,
        counts TEXT NOT NULL
    )""",
)
step = Step("expand", STATEMENTS)
upgrade = step.run
