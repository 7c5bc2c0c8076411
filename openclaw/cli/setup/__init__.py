"""C{openclaw onboard} and C{openclaw quickstart}: the first configuration."""
