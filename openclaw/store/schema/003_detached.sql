-- Roots of transcripts that are no part of their session's history until a later request extends them.

CREATE TABLE detached_roots (
    root_seq      INTEGER PRIMARY KEY,      -- an entry without a parent
    session_id    INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at_ms INTEGER NOT NULL
);

CREATE INDEX detached_roots_by_time ON detached_roots (created_at_ms);
CREATE INDEX detached_roots_by_session ON detached_roots (session_id);
