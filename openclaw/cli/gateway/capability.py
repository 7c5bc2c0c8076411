"""What a connection to a gateway may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openclaw.cli.client.told import part, texts

NO_SCOPE = "connected_no_operator_scope"
"""The original's name for a connection that may do next to nothing."""


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
