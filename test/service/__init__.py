"""Tests of L{openclaw.service}."""
