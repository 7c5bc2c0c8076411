"""C{openclaw agents}: the agents of the configuration."""
