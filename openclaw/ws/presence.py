"""
Who is there: the gateway itself, and the user interfaces and devices that are connected to it.

Programs that call a method and leave, such as the command line, are not listed.
"""

from __future__ import annotations

import platform
import socket
import uuid
from collections.abc import Callable
from typing import Any

from openclaw._version import __version__
from openclaw.interfaces import Clock
from openclaw.waits import now_ms
from openclaw.ws.frames import ClientInfo

_LISTED_MODES = ("ui", "webchat", "node")
"""Modes of clients that somebody sits at, or that are devices."""


class Presence:
    """The list; C{version}, which clients compare, grows with each change.  C{new_id} names this life of a gateway."""

    def __init__(
        self,
        clock: Clock,
        *,
        host: str | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._clock = clock
        self._host = host if host is not None else socket.gethostname()
        self._instance_id = new_id()
        self._since_ms = now_ms(self._clock)
        self._visitors: dict[str, dict[str, Any]] = {}
        self.version = 1

    def arrive(self, connection_id: str, info: ClientInfo, scopes: tuple[str, ...], *, has_device: bool) -> bool:
        """A client has connected; gives whether the list has changed."""
        if not has_device and info.mode not in _LISTED_MODES:
            return False
        self._visitors[connection_id] = _entry(info, scopes, now_ms(self._clock))
        self.version += 1
        return True

    def leave(self, connection_id: str) -> bool:
        """A client has gone; gives whether the list has changed."""
        if self._visitors.pop(connection_id, None) is None:
            return False
        self.version += 1
        return True

    def entries(self) -> list[dict[str, Any]]:
        """The list as clients see it, the gateway first."""
        return [self._own_entry(), *self._visitors.values()]

    def _own_entry(self) -> dict[str, Any]:
        system = platform.system()
        return {
            "host": self._host,
            "version": __version__,
            "platform": f"{system.lower()} {platform.release()}",
            "deviceFamily": system,
            "mode": "gateway",
            "reason": "self",
            "instanceId": self._instance_id,
            "text": f"Gateway: {self._host} · app {__version__} · mode gateway · reason self",
            "ts": self._since_ms,
        }


def _entry(info: ClientInfo, scopes: tuple[str, ...], since_ms: int) -> dict[str, Any]:
    optional = {
        "deviceFamily": info.device_family,
        "modelIdentifier": info.model_identifier,
        "timeZone": info.time_zone,
        "instanceId": info.instance_id,
    }
    name = info.display_name or info.id
    return {
        "clientId": info.id,
        "host": name,
        "version": info.version,
        "platform": info.platform,
        "mode": info.mode,
        "roles": ["operator"],
        "scopes": list(scopes),
        "reason": "connect",
        "onlineSince": since_ms,
        "text": f"Node: {name} · app {info.version} · mode {info.mode}",
        "ts": since_ms,
    } | {key: value for key, value in optional.items() if value}
