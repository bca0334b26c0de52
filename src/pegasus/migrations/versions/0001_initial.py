"""The first schema: documents and their versions, passages, jobs, the graph's rows, sessions, access."""

from pegasus.migrations.steps import Step

revision = "0001"
down_revision = None

STATEMENTS = (
    """CREATE TABLE workspaces (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL
    )""",
    # Only a digest of a key is kept: 256 random bits need no slow hash.
    """CREATE TABLE api_keys (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        name TEXT NOT NULL,
        hint TEXT NOT NULL,
        key_sha256 TEXT NOT NULL UNIQUE,
        created_at DOUBLE PRECISION NOT NULL,
        last_used_at DOUBLE PRECISION,
        revoked_at DOUBLE PRECISION
    )""",
    """CREATE TABLE idempotency_keys (
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        key TEXT NOT NULL,
        request_sha256 TEXT NOT NULL,
        status INTEGER NOT NULL,
        response TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (workspace_id, key)
    )""",
    """CREATE TABLE documents (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        title TEXT NOT NULL,
        title_key TEXT NOT NULL,
        uri TEXT,
        media_type TEXT NOT NULL,
        version INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        size_bytes BIGINT NOT NULL,
        state TEXT NOT NULL,
        metadata TEXT NOT NULL,
        error TEXT,
        created_at DOUBLE PRECISION NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX documents_by_workspace ON documents (workspace_id, id)",
    "CREATE INDEX documents_by_content ON documents (workspace_id, sha256, id)",
    "CREATE INDEX documents_by_title ON documents (workspace_id, title_key)",
    # The same content may be known by several names; a name whose content changes leaves the others alone.
    """CREATE TABLE document_uris (
        workspace_id TEXT NOT NULL,
        uri TEXT NOT NULL,
        document_id TEXT NOT NULL REFERENCES documents(id),
        PRIMARY KEY (workspace_id, uri)
    )""",
    "CREATE INDEX document_uris_by_document ON document_uris (document_id)",
    """CREATE TABLE document_tags (
        document_id TEXT NOT NULL REFERENCES documents(id),
        workspace_id TEXT NOT NULL,
        tag TEXT NOT NULL,
        PRIMARY KEY (document_id, tag)
    )""",
    "CREATE INDEX document_tags_by_tag ON document_tags (workspace_id, tag, document_id)",
    """CREATE TABLE document_versions (
        document_id TEXT NOT NULL REFERENCES documents(id),
        version INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        media_type TEXT NOT NULL,
        filename TEXT,
        charset TEXT,
        file_key TEXT,
        text TEXT,
        text_sha256 TEXT,
        title_given INTEGER NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (document_id, version)
    )""",
    "CREATE INDEX document_versions_by_file ON document_versions (file_key) WHERE file_key IS NOT NULL",
    """CREATE TABLE passages (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        workspace_id TEXT NOT NULL,
        document_id TEXT NOT NULL REFERENCES documents(id),
        version INTEGER NOT NULL,
        start_offset INTEGER NOT NULL,
        end_offset INTEGER NOT NULL,
        title TEXT NOT NULL,
        heading TEXT NOT NULL,
        text TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        input_sha256 TEXT NOT NULL,
        indexed INTEGER NOT NULL
    )""",
    "CREATE INDEX passages_by_document ON passages (document_id, start_offset)",
    "CREATE INDEX passages_to_index ON passages (document_id) WHERE indexed = 0",
    # Embeddings are costly, so they are part of the truth: vectors can be rebuilt without the model.
    """CREATE TABLE passage_embeddings (
        passage_id TEXT PRIMARY KEY REFERENCES passages(id),
        model TEXT NOT NULL,
        vector BLOB NOT NULL
    )""",
    # What the derived stores still have to forget, written where the rows go and deleted when it is done.
    """CREATE TABLE removals (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    )""",
    "CREATE INDEX removals_by_document ON removals (document_id)",
    """CREATE TABLE entities (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        UNIQUE (workspace_id, key)
    )""",
    """CREATE TABLE mentions (
        passage_id TEXT NOT NULL REFERENCES passages(id),
        entity_id TEXT NOT NULL REFERENCES entities(id),
        PRIMARY KEY (passage_id, entity_id)
    )""",
    "CREATE INDEX mentions_by_entity ON mentions (entity_id)",
    """CREATE TABLE links (
        document_id TEXT NOT NULL REFERENCES documents(id),
        ordinal INTEGER NOT NULL,
        workspace_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        target TEXT NOT NULL,
        label TEXT NOT NULL,
        target_key TEXT NOT NULL,
        PRIMARY KEY (document_id, ordinal)
    )""",
    # What links to a document may call it: its names, its title, its file's name.
    """CREATE TABLE link_keys (
        workspace_id TEXT NOT NULL,
        key TEXT NOT NULL,
        document_id TEXT NOT NULL REFERENCES documents(id),
        stale INTEGER NOT NULL,
        PRIMARY KEY (workspace_id, key, document_id)
    )""",
    "CREATE INDEX link_keys_by_document ON link_keys (document_id)",
    "CREATE INDEX links_by_target ON links (workspace_id, target_key)",
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        lane TEXT NOT NULL,
        step TEXT NOT NULL,
        priority INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        document_id TEXT,
        version INTEGER,
        parent_id TEXT,
        progress TEXT NOT NULL,
        payload TEXT NOT NULL,
        result TEXT,
        error TEXT,
        lease_owner TEXT,
        lease_until DOUBLE PRECISION,
        run_after DOUBLE PRECISION NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX jobs_by_workspace ON jobs (workspace_id, id)",
    "CREATE INDEX jobs_waiting ON jobs (lane, priority, run_after) WHERE state IN ('queued', 'running')",
    "CREATE INDEX jobs_unfinished ON jobs (document_id) WHERE state IN ('queued', 'running')",
    "CREATE INDEX jobs_unfinished_children ON jobs (parent_id) WHERE state IN ('queued', 'running')",
    # One row for each line of a batch or member of an archive; the document and job say how it went on.
    """CREATE TABLE batch_items (
        job_id TEXT NOT NULL REFERENCES jobs(id),
        ordinal INTEGER NOT NULL,
        name TEXT NOT NULL,
        document_id TEXT,
        item_job_id TEXT,
        outcome TEXT NOT NULL,
        error TEXT,
        PRIMARY KEY (job_id, ordinal)
    )""",
    "CREATE INDEX batch_items_by_document ON batch_items (document_id)",
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        workspace_id TEXT NOT NULL REFERENCES workspaces(id),
        title TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX sessions_by_workspace ON sessions (workspace_id, id)",
    """CREATE TABLE messages (
        id TEXT PRIMARY KEY,
        session_id TEXT NOT NULL REFERENCES sessions(id),
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        citations TEXT NOT NULL,
        model TEXT,
        created_at DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX messages_by_session ON messages (session_id, id)",
)
# The full text, which is FTS5's own affair in SQLite. A row for each passage that can be found by its words, which
# outlives the passage where somebody forgot it; and for each workspace a short number, which every term of its
# passages begins with, and what a relevance is reckoned from.
FULL_TEXT = (
    """CREATE TABLE word_counts (
        workspace_id TEXT COLLATE "C" PRIMARY KEY,
        number BIGINT GENERATED ALWAYS AS IDENTITY,
        passages BIGINT NOT NULL,
        terms BIGINT NOT NULL
    )""",
    """CREATE TABLE words (
        passage_id TEXT COLLATE "C" PRIMARY KEY,
        workspace_id TEXT COLLATE "C" NOT NULL,
        digest TEXT COLLATE "C" NOT NULL,
        terms BIGINT NOT NULL,
        vector TSVECTOR NOT NULL
    )""",
    # In how many passages of its workspace a term is: rare ones lead a search.
    """CREATE TABLE word_frequencies (
        term TEXT COLLATE "C" PRIMARY KEY,
        passages BIGINT NOT NULL
    ) WITH (fillfactor = 80)""",
    # Ranking reads many vectors: beside the row, not compressed. No pending list, which each search would go through.
    "ALTER TABLE words SET (toast_tuple_target = 8160)",
    "CREATE INDEX words_by_term ON words USING gin (vector) WITH (fastupdate = off)",
    "CREATE INDEX words_by_workspace ON words (workspace_id)",
)
# SQLite's name for a list of texts as JSON.
JSON_GROUP_ARRAY = (
    """CREATE FUNCTION json_text_of(texts TEXT[]) RETURNS TEXT LANGUAGE sql IMMUTABLE AS
        'SELECT array_to_json(texts)::text'""",
    """CREATE AGGREGATE json_group_array(TEXT) (
        SFUNC = array_append, STYPE = TEXT[], INITCOND = '{}', FINALFUNC = json_text_of
    )""",
)
step = Step("expand", STATEMENTS, postgresql=FULL_TEXT + JSON_GROUP_ARRAY)
upgrade = step.run
