"""Which backups were made: an erasure has to tell which of them still hold what is erased."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """CREATE TABLE backups (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            expires_at DOUBLE PRECISION,
            sha256 TEXT,
            size_bytes BIGINT,
            counts TEXT NOT NULL
        )"""
    )
