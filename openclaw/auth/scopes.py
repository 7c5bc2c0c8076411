"""
Operator scopes: what a caller may do.

C{operator.admin} holds every other scope, C{operator.write} holds C{operator.read}.  The rest stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from openclaw.auth.head import RequestHead
from openclaw.errors import MissingScope
from openclaw.interfaces import Caller

READ = "operator.read"
"""List models, read sessions and settings."""

WRITE = "operator.write"
"""Start and stop runs."""

ADMIN = "operator.admin"
"""Change settings and agents, override the model of a run."""

APPROVALS = "operator.approvals"
"""Decide on what an agent asks permission for."""

QUESTIONS = "operator.questions"
"""Answer what an agent asks its user."""

PAIRING = "operator.pairing"
"""Admit devices."""

TALK = "operator.talk"
"""Hold a voice conversation."""

TALK_SECRETS = "operator.talk.secrets"
"""Read the credentials of voice services."""

ALL_SCOPES = frozenset((READ, WRITE, ADMIN, APPROVALS, QUESTIONS, PAIRING, TALK, TALK_SECRETS))
"""Every scope: what the shared secret gives."""

OPEN_BEYOND_LOOPBACK = "unauthorized: gateway.auth.mode none serves this machine only; set a token"
"""What all are told where mode C{none} could be reached from elsewhere."""

_HOLDERS = {scope: frozenset((scope, ADMIN)) for scope in ALL_SCOPES} | {READ: frozenset((READ, WRITE, ADMIN))}


def implies(have: Iterable[str], wanted: str) -> bool:
    """
    Tell whether some scopes are enough.

    @param have: the scopes of a caller.
    @param wanted: the scope that something needs; an unknown one is held by nobody.
    """
    return not _HOLDERS.get(wanted, frozenset()).isdisjoint(have)


def parse_scopes(header: str) -> frozenset[str]:
    """
    Read a comma-separated list of scopes.

    @param header: the value of C{x-openclaw-scopes}; empty means no scope at all.
    @return: the known scopes in it.  A name that is no scope gives nothing.
    """
    return ALL_SCOPES.intersection(part.strip() for part in header.split(","))


def declared_scopes(head: RequestHead) -> frozenset[str]:
    """What a request says that it may do, where it needs no secret: all, unless it says C{x-openclaw-scopes}."""
    declared = head.values(b"x-openclaw-scopes")
    return parse_scopes(b",".join(declared).decode("latin-1")) if declared else ALL_SCOPES


def require(caller: Caller, scope: str) -> None:
    """
    Insist on a scope.

    @raise MissingScope: if the caller does not have it.
    """
    if not implies(caller.scopes, scope):
        raise MissingScope(scope)
