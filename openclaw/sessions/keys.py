"""How a session was named by a request."""

from __future__ import annotations

from typing import Literal

KeySource = Literal["key", "chat", "metadata", "user", "fresh"]
"""Where a session key came from: the client's own key, a chat id of its user interface, metadata, the user, nowhere."""
