"""Tests of C{openclaw.cli.doctor}."""
