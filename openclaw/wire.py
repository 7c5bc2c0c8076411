"""What the protocols of the port have in common, whichever end of them speaks: numbers, names, and where a fault is."""

from __future__ import annotations

import re

PROTOCOL_VERSION = 4
"""The version of the WebSocket protocol that is spoken."""

MIN_PROBE_PROTOCOL = 3
"""Oldest version of it that a client which only probes may speak."""

MAX_PAYLOAD_BYTES = 25 * 1024 * 1024
"""Largest frame of a connected client in either direction, in bytes (original: the same)."""

CHANNEL_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What the name of a channel is, in full."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: no character, though JSON and Python have a way to write it."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def steps_of(path: str) -> list[str]:
    """The names and indexes of a path as msgspec writes it: C{a}, C{0} and C{b} of C{$.a[0].b}."""
    return [name or index for name, index in _STEP.findall(path)]
