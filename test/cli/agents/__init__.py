"""Tests of C{openclaw.cli.agents}."""
