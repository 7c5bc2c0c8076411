"""A running gateway, seen from a command: where it is, the connection to it, and what goes wrong with it."""
