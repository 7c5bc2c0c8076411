"""Tests of C{openclaw.cli.gateway}."""
