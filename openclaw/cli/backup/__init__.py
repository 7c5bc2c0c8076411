"""C{openclaw backup}: copies of configuration and store."""
