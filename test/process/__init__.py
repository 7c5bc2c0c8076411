"""Tests of L{openclaw.process}."""
