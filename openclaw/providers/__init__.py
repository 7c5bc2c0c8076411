"""Clients of model servers, the embedded one included."""
