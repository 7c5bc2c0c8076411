"""C{openclaw gateway}: run the gateway, ask one that runs, and install it as a service."""
