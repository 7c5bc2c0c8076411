"""Tests of the methods layer."""
