"""The HTTP surface of the port."""
