"""Tests for L{openclaw.auth.scopes}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth.scopes import ADMIN, ALL_SCOPES, APPROVALS, READ, TALK_SECRETS, WRITE, implies, parse_scopes, require
from openclaw.errors import MissingScope
from openclaw.interfaces import Caller


class ScopeTests(SynchronousTestCase):
    """What scopes hold and how they are read."""

    def test_order(self) -> None:
        """Read is held by write and admin, write by admin; never the other way round."""
        table = {
            READ: {READ: True, WRITE: False, ADMIN: False, APPROVALS: False},
            WRITE: {READ: True, WRITE: True, ADMIN: False, APPROVALS: False},
            ADMIN: {READ: True, WRITE: True, ADMIN: True, APPROVALS: True},
            APPROVALS: {READ: False, WRITE: False, ADMIN: False, APPROVALS: True},
        }
        for have, row in table.items():
            self.assertEqual({wanted: implies({have}, wanted) for wanted in row}, row)

    def test_none_and_all(self) -> None:
        """No scope is enough for nothing, all are enough for each, and nobody has a scope that does not exist."""
        for scope in ALL_SCOPES:
            self.assertFalse(implies((), scope))
            self.assertTrue(implies(ALL_SCOPES, scope))
        self.assertFalse(implies({*ALL_SCOPES, "operator.root"}, "operator.root"))

    def test_parse(self) -> None:
        """A list is read with blanks; unknown names, other cases and an empty list give nothing."""
        self.assertEqual(parse_scopes(" operator.read ,operator.talk.secrets"), {READ, TALK_SECRETS})
        self.assertEqual(parse_scopes(""), frozenset())
        self.assertEqual(parse_scopes(",, ,"), frozenset())
        self.assertEqual(parse_scopes("operator.root,OPERATOR.ADMIN,*,operator.read operator.admin"), frozenset())

    def test_require(self) -> None:
        """A missing scope is the error of the contract's table; a held one passes."""
        require(Caller("operator", frozenset({WRITE})), READ)
        error = self.assertRaises(MissingScope, require, Caller("operator", frozenset({READ})), WRITE)
        self.assertEqual((error.http_status, error.wire_type, error.code), (403, "forbidden", "missing_scope"))
        self.assertEqual(error.message, "missing scope: operator.write")
        self.assertEqual(error.details, {"code": "MISSING_SCOPE", "missingScope": WRITE, "requiredScopes": [WRITE]})
