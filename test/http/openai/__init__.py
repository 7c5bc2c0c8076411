"""Tests of L{openclaw.http.openai}."""
