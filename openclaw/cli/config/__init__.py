"""C{openclaw config}: show, change and check the configuration file."""
