"""Connections: bytes of a socket to a request that the gate admitted, and the answer's bytes back."""
