"""Tests of L{openclaw.methods.table}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.methods.table import Method, MethodTable, NoParams


class TableTests(SynchronousTestCase):
    """A table."""

    def test_twice(self) -> None:
        """Two methods of one name are a mistake of the program."""
        method = Method("x", None, NoParams, lambda call, params: None)  # type: ignore[arg-type,return-value]
        self.assertRaises(ValueError, MethodTable, (method, method))
