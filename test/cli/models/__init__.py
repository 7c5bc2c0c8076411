"""Tests of C{openclaw.cli.models}."""
