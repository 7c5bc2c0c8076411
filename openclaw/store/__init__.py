"""The durable state: one SQLite database behind one writing thread."""
