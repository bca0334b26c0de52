"""Sources: where documents come from by themselves, what was found there, and the runs that looked."""

from pegasus.migrations.steps import Step

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # job_id is the newest run; while its job is unfinished there is no other. Secrets are never in origin.
    """CREATE TABLE sources (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        origin TEXT NOT NULL,
        tags TEXT NOT NULL,
        every_seconds INTEGER,
        next_run_at DOUBLE PRECISION,
        removing INTEGER NOT NULL,
        job_id TEXT,
        listing_token TEXT,
        created_at DOUBLE PRECISION NOT NULL,
        UNIQUE (workspace_id, name)
    )""",
    "CREATE INDEX sources_by_schedule ON sources (next_run_at) WHERE next_run_at IS NOT NULL",
    # token is that of the content which was read, found_token that of the last listing. document_id has no foreign
    # key: a row outlives its document, so that what a person erased does not come back by itself.
    """CREATE TABLE source_items (
        source_id TEXT NOT NULL REFERENCES sources(id),
        item_key TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        uri TEXT NOT NULL,
        state TEXT NOT NULL,
        token TEXT,
        found_token TEXT,
        document_id TEXT,
        brought INTEGER NOT NULL,
        held INTEGER NOT NULL,
        first_run TEXT NOT NULL,
        seen_run TEXT NOT NULL,
        read_run TEXT,
        PRIMARY KEY (source_id, item_key)
    )""",
    "CREATE INDEX source_items_to_read ON source_items (source_id, item_key) WHERE state = 'pending'",
    "CREATE INDEX source_items_by_document ON source_items (document_id)",
    "CREATE INDEX source_items_by_uri ON source_items (workspace_id, uri)",
    # A run is a job; its failures are the job's items.
    """CREATE TABLE source_runs (
        id TEXT PRIMARY KEY REFERENCES jobs(id),
        source_id TEXT NOT NULL REFERENCES sources(id),
        complete INTEGER NOT NULL,
        listing_token TEXT,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        unchanged INTEGER NOT NULL,
        erased INTEGER NOT NULL,
        held INTEGER NOT NULL
    )""",
    "CREATE INDEX source_runs_by_source ON source_runs (source_id, id)",
)
step = Step("expand", STATEMENTS)
upgrade = step.run
