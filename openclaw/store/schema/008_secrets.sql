-- Random keys that the gateway makes for itself, once: the one that names sessions to providers is the first.

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
