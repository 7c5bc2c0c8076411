-- Keys of requests that may be repeated, and the results that a repetition is answered with.

CREATE TABLE idempotency_keys (
    seq           INTEGER PRIMARY KEY,
    caller        TEXT NOT NULL,
    key           TEXT NOT NULL,
    fingerprint   BLOB NOT NULL,
    state         TEXT NOT NULL,
    attempts      TEXT NOT NULL,            -- ids of runs, oldest first, with blanks between them
    claimed_at_ms INTEGER NOT NULL,
    result_bytes  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (caller, key)
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (claimed_at_ms);

-- In a table of their own, so that looking for old keys does not read them.
CREATE TABLE idempotency_results (
    key_seq INTEGER PRIMARY KEY,            -- a row of idempotency_keys
    payload BLOB NOT NULL                   -- as JSON
);

-- One row.  Counting ten thousand keys at each write would cost more than the write.
CREATE TABLE idempotency_totals (
    key_count   INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL
);

INSERT INTO idempotency_totals VALUES (0, 0);

CREATE TRIGGER idempotency_key_added AFTER INSERT ON idempotency_keys BEGIN
    UPDATE idempotency_totals SET key_count = key_count + 1, total_bytes = total_bytes + NEW.result_bytes;
END;

CREATE TRIGGER idempotency_key_changed AFTER UPDATE OF result_bytes ON idempotency_keys BEGIN
    UPDATE idempotency_totals SET total_bytes = total_bytes + NEW.result_bytes - OLD.result_bytes;
END;

CREATE TRIGGER idempotency_key_removed AFTER DELETE ON idempotency_keys BEGIN
    UPDATE idempotency_totals SET key_count = key_count - 1, total_bytes = total_bytes - OLD.result_bytes;
    DELETE FROM idempotency_results WHERE key_seq = OLD.seq;
END;
