"""What a key may do and for how long, its limits, and the audit log."""

from pegasus.migrations.steps import Step

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # Keys from before scopes could do everything in their workspace, and still can.
    "ALTER TABLE api_keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'admin'",
    "ALTER TABLE api_keys ADD COLUMN expires_at DOUBLE PRECISION",
    "ALTER TABLE api_keys ADD COLUMN rate_limit TEXT",
    "ALTER TABLE api_keys ADD COLUMN max_body_bytes BIGINT",
    # Set when the erasure of a workspace is accepted: its keys open nothing from then on, its audit log may go.
    "ALTER TABLE workspaces ADD COLUMN erasing_at DOUBLE PRECISION",
    # Each row's digest is taken over the digest of the row before it.
    """CREATE TABLE audit_events (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        position BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        key_id TEXT,
        action TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        outcome TEXT NOT NULL,
        request_id TEXT,
        sha256 TEXT NOT NULL,
        UNIQUE (workspace_id, position)
    )""",
    "CREATE INDEX audit_events_by_workspace ON audit_events (workspace_id, id)",
    # The end of each chain: its row is locked by whoever appends, and shows that the last events were cut off.
    """CREATE TABLE audit_heads (
        workspace_id TEXT PRIMARY KEY REFERENCES workspaces(id),
        position BIGINT NOT NULL,
        sha256 TEXT NOT NULL
    )""",
)
TRIGGERS = (
    """CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
        BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END""",
    """CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
        WHEN NOT EXISTS (SELECT 1 FROM workspaces WHERE id = OLD.workspace_id AND erasing_at IS NOT NULL)
        BEGIN SELECT RAISE(ABORT, 'audit events go only with their workspace'); END""",
)
POSTGRESQL_TRIGGERS = (
    """CREATE FUNCTION refuse_changed_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE integrity_constraint_violation USING MESSAGE = 'audit events are never changed'; END $$""",
    """CREATE FUNCTION refuse_deleted_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT 1 FROM workspaces WHERE id = OLD.workspace_id AND erasing_at IS NOT NULL) THEN
                RETURN OLD;
            END IF;
            RAISE integrity_constraint_violation USING MESSAGE = 'audit events go only with their workspace';
        END $$""",
    """CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
        FOR EACH ROW EXECUTE FUNCTION refuse_changed_audit_event()""",
    """CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
        FOR EACH ROW EXECUTE FUNCTION refuse_deleted_audit_event()""",
)
step = Step("expand", STATEMENTS, sqlite=TRIGGERS, postgresql=POSTGRESQL_TRIGGERS)
upgrade = step.run
