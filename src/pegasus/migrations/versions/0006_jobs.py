"""Jobs that account for themselves: how each attempt ended badly, crashes counted, claims that take turns."""

from pegasus.migrations.steps import Step

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # Attempts that took their worker along are counted apart: other faults may be tried more often than those.
    "ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN started_at DOUBLE PRECISION",
    # Only attempts that ended badly: the others are told by the job's own row, and most jobs have no more than one.
    """CREATE TABLE job_attempts (
        job_id TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        step TEXT NOT NULL,
        worker TEXT NOT NULL,
        started_at DOUBLE PRECISION NOT NULL,
        ended_at DOUBLE PRECISION NOT NULL,
        outcome TEXT NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (job_id, number)
    )""",
    # A claim goes from workspace to workspace by these, each a step down the index however long the queues are.
    "CREATE INDEX jobs_fresh ON jobs (lane, priority, workspace_id, run_after, id)"
    " WHERE state = 'queued' AND attempts = 0",
    "CREATE INDEX jobs_tried ON jobs (lane, priority, workspace_id, run_after, id)"
    " WHERE state = 'queued' AND attempts > 0",
    "CREATE INDEX jobs_running ON jobs (lane, lease_until) WHERE state = 'running'",
    "CREATE INDEX jobs_by_state ON jobs (workspace_id, state, id)",
    "CREATE INDEX jobs_dead ON jobs (workspace_id) WHERE state = 'dead'",
)
step = Step("expand", STATEMENTS)
upgrade = step.run
