"""Tests of C{openclaw.cli.client}."""
