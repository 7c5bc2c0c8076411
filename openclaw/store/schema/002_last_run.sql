-- What lists of sessions show of a session's last run.

ALTER TABLE sessions ADD COLUMN last_run_id TEXT;
