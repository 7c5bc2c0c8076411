"""Tests of L{openclaw.sharing}."""
