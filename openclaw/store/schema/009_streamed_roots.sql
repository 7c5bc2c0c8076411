-- Roots that were asked for as streams: what a user said, and not a title.  They are not pruned.

ALTER TABLE entries ADD COLUMN streamed INTEGER;        -- 1 on such a root
ALTER TABLE detached_roots ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 0;

DROP INDEX detached_roots_by_time;
CREATE INDEX detached_roots_by_time ON detached_roots (created_at_ms) WHERE is_kept = 0;
