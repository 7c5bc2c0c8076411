-- Sessions, their transcripts and the runs that wrote them.
-- Times are milliseconds since 1970.  No STRICT and no RETURNING: SQLite 3.34 is still in use.

CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY,
    key           TEXT NOT NULL UNIQUE,
    agent_id      TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    entry_count   INTEGER NOT NULL DEFAULT 0,
    tip_seq       INTEGER               -- the entry that the current branch ends at
);

CREATE INDEX sessions_by_time ON sessions (updated_at_ms);
CREATE INDEX sessions_by_agent ON sessions (agent_id, updated_at_ms);

-- An append-only tree for each session.  parent_seq and sessions.tip_seq carry no REFERENCES: appending checks
-- the parent itself, and without an index on them every deletion of an entry would read the whole table.
-- Ids are unique within their session, so that an append touches pages of that session only, however many
-- entries there are in all.
CREATE TABLE entries (
    seq           INTEGER PRIMARY KEY,
    session_id    INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    id            TEXT NOT NULL,
    parent_seq    INTEGER,
    run_id        TEXT NOT NULL,
    role          TEXT NOT NULL,
    payload       BLOB NOT NULL,        -- the message as JSON
    stop_reason   TEXT,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (session_id, id)
);

CREATE TABLE runs (
    seq               INTEGER PRIMARY KEY,
    run_id            TEXT NOT NULL UNIQUE,
    agent_id          TEXT NOT NULL,
    session_key       TEXT NOT NULL,    -- a run of an unstored session has one too
    model_ref         TEXT NOT NULL,
    status            TEXT NOT NULL,
    started_at_ms     INTEGER NOT NULL,
    ended_at_ms       INTEGER,
    prompt_tokens     INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens     INTEGER,
    reasoning_tokens  INTEGER,
    usage_estimated   INTEGER NOT NULL DEFAULT 0,
    error_code        TEXT
);

CREATE INDEX runs_by_time ON runs (started_at_ms);
-- Holds the few runs under way, so that what a dead process left is found at once among millions.
CREATE INDEX runs_running ON runs (status) WHERE status = 'running';
