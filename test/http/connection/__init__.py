"""Tests of L{openclaw.http.connection}."""
