-- Whose the calls of an answer are.  Until now all of them were the client's, and NULL says that.

ALTER TABLE entries ADD COLUMN own_calls BLOB;      -- ids of the calls of the agent's own tools, as JSON
