"""
What a client is told when it is let in: C{hello-ok}, the payload of the response to C{connect}.

Clients find out from it which methods and events there are, what they may do, and how things stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from openclaw._version import __version__
from openclaw.auth.connect import ConnectAdmission
from openclaw.auth.scopes import ADMIN, READ, implies
from openclaw.methods.table import MethodTable
from openclaw.wire import MAX_PAYLOAD_BYTES, PROTOCOL_VERSION
from openclaw.ws.broadcast import EVENT_SCOPES, TICK_INTERVAL_S
from openclaw.ws.presence import Presence

MAX_BUFFERED_BYTES = 50 * 1024 * 1024
"""What waits for a client that does not read, in bytes, before it is closed (original: the same)."""


class Snapshot(Protocol):
    """How things stand, as far as this layer does not know it itself.  All of it is asked often: it must be cheap."""

    def health(self) -> Mapping[str, Any]:
        """What the method C{health} answers."""

    def session_defaults(self) -> Mapping[str, Any]:
        """C{sessionDefaults}: the agent and the session that a client begins with."""

    def uptime_ms(self) -> int:
        """Milliseconds since the gateway's start."""

    def admin_facts(self) -> Mapping[str, Any]:
        """C{configPath}, C{stateDir} and C{authMode}, for C{operator.admin} only."""


def hello_ok(
    admission: ConnectAdmission,
    connection_id: str,
    methods: MethodTable,
    snapshot: Snapshot,
    presence: Presence,
    health_version: int,
) -> dict[str, Any]:
    """Make the payload for one client; C{health_version} is that of what is told as health."""
    scopes = admission.scopes
    entries: Sequence[Any] = presence.entries() if implies(scopes, READ) else []
    state: dict[str, Any] = {
        "suspension": {"phase": "accepting"},
        "presence": entries,
        "health": snapshot.health(),
        "stateVersion": {"presence": presence.version, "health": health_version},
        "uptimeMs": snapshot.uptime_ms(),
        "sessionDefaults": snapshot.session_defaults(),
    }
    if implies(scopes, ADMIN):
        state.update(snapshot.admin_facts())
    return {
        "type": "hello-ok",
        "protocol": PROTOCOL_VERSION,
        "server": {"version": __version__, "connId": connection_id},
        "features": {
            "methods": list(methods.names),
            "events": ["connect.challenge", *EVENT_SCOPES],
            "capabilities": [],
        },
        "snapshot": state,
        "auth": {"method": admission.method, "role": "operator", "scopes": list(scopes)},
        "policy": {
            "maxPayload": MAX_PAYLOAD_BYTES,
            "maxBufferedBytes": MAX_BUFFERED_BYTES,
            "tickIntervalMs": int(TICK_INTERVAL_S * 1000),
        },
    }
