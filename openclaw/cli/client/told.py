"""
What a gateway tells, as a command can use it.

A gateway of another version may tell other things than we expect, or in another form.  A part that is not there, or is
something else, is as one that is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_SCOPE = "connected_no_operator_scope"
"""The original's name for a connection that may do next to nothing."""


def part(value: Any, *path: str) -> dict[str, Any]:
    """An object in a payload; empty if there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def rows(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects of a list in a payload, without what else is in it; empty if there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list | tuple) else []


def texts(value: Any, name: str) -> list[str]:
    """The texts of a list in a payload, without what else is in it; empty if there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return [item for item in found if isinstance(item, str)] if isinstance(found, list | tuple) else []


def number(value: Any) -> float | None:
    """A number that can be reckoned with; C{None} if it is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 else None


def standing(hello: Mapping[str, Any]) -> dict[str, Any]:
    """What the gateway's greeting says of us, as the original's reports have it."""
    auth = part(hello, "auth")
    scopes = texts(auth, "scopes")
    return {"role": auth.get("role"), "scopes": scopes, "capability": capability_of(scopes)}


def capability_of(scopes: list[str]) -> str:
    """What a connection with these scopes can do, in the original's words."""
    for scope, word in (("admin", "admin_capable"), ("write", "write_capable"), ("read", "read_only")):
        if f"operator.{scope}" in scopes:
            return word
    return NO_SCOPE
