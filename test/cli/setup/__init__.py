"""Tests of C{openclaw.cli.setup}."""
