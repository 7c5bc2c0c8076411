"""Tests of the auth layer."""
