-- The keys of each surface have quotas of their own: those of the WebSocket come with every call.

DROP TRIGGER idempotency_key_added;
DROP TRIGGER idempotency_key_changed;
DROP TRIGGER idempotency_key_removed;
DROP INDEX idempotency_keys_by_time;
ALTER TABLE idempotency_keys RENAME TO idempotency_keys_before;

CREATE TABLE idempotency_keys (
    seq           INTEGER PRIMARY KEY,
    surface       TEXT NOT NULL,
    caller        TEXT NOT NULL,
    key           TEXT NOT NULL,
    fingerprint   BLOB NOT NULL,
    state         TEXT NOT NULL,
    attempts      TEXT NOT NULL,            -- ids of runs, oldest first, with blanks between them
    claimed_at_ms INTEGER NOT NULL,
    result_bytes  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (surface, caller, key)
);

INSERT INTO idempotency_keys
    SELECT seq, 'http', caller, key, fingerprint, state, attempts, claimed_at_ms, result_bytes
    FROM idempotency_keys_before;
DROP TABLE idempotency_keys_before;

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (surface, claimed_at_ms);

-- One row for each surface.
ALTER TABLE idempotency_totals ADD COLUMN surface TEXT NOT NULL DEFAULT 'http';
INSERT INTO idempotency_totals VALUES (0, 0, 'ws');

CREATE TRIGGER idempotency_key_added AFTER INSERT ON idempotency_keys BEGIN
    UPDATE idempotency_totals SET key_count = key_count + 1, total_bytes = total_bytes + NEW.result_bytes
    WHERE surface = NEW.surface;
END;

CREATE TRIGGER idempotency_key_changed AFTER UPDATE OF result_bytes ON idempotency_keys BEGIN
    UPDATE idempotency_totals SET total_bytes = total_bytes + NEW.result_bytes - OLD.result_bytes
    WHERE surface = NEW.surface;
END;

CREATE TRIGGER idempotency_key_removed AFTER DELETE ON idempotency_keys BEGIN
    UPDATE idempotency_totals SET key_count = key_count - 1, total_bytes = total_bytes - OLD.result_bytes
    WHERE surface = OLD.surface;
    DELETE FROM idempotency_results WHERE key_seq = OLD.seq;
END;
