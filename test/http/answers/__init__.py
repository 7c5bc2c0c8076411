"""Tests of L{openclaw.http.answers}."""
