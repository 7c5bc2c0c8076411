"""C{system-presence}: who is connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openclaw.auth.scopes import READ
from openclaw.methods.table import Call, Method, NoParams

PresenceEntries = Callable[[], Sequence[Mapping[str, Any]]]
"""Gives the entries, the gateway's own first; the layer of the connections knows them."""


def presence_methods(entries: PresenceEntries) -> tuple[Method, ...]:
    """The methods of this family."""

    async def presence(call: Call, params: NoParams) -> list[Mapping[str, Any]]:
        """The entries as a bare list, which is what the original answers."""
        return list(entries())

    return (Method("system-presence", READ, NoParams, presence),)
