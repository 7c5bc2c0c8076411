"""Tests of C{openclaw.cli.config}."""
