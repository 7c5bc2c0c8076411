-- Sessions that are put away: out of the lists, and the first to go when the disk is full.

ALTER TABLE sessions ADD COLUMN archived_at_ms INTEGER;

-- Lists and counts read these alone, however many sessions are put away.
DROP INDEX sessions_by_time;
DROP INDEX sessions_by_agent;
CREATE INDEX sessions_by_time ON sessions (updated_at_ms) WHERE archived_at_ms IS NULL;
CREATE INDEX sessions_by_agent ON sessions (agent_id, updated_at_ms) WHERE archived_at_ms IS NULL;
CREATE INDEX sessions_archived ON sessions (archived_at_ms) WHERE archived_at_ms IS NOT NULL;

-- Finds the ended runs that may be forgotten.
CREATE INDEX runs_by_end ON runs (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX sessions_by_last_run ON sessions (last_run_id) WHERE last_run_id IS NOT NULL;
