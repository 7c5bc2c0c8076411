"""Tests of the ws layer."""
