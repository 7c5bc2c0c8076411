"""The WebSocket surface of the port."""
