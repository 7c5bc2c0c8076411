"""Tests of C{openclaw.cli.backup}."""
