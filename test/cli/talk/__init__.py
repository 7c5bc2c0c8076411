"""Tests of C{openclaw.cli.talk}."""
