"""What providers are told as the name of a session, so that their routers keep it on one worker."""

from __future__ import annotations

import hmac
from collections.abc import Callable

SECRET_NAME = "session-id"
"""The name of the store's secret that the names are made with."""


def session_ids(secret: bytes) -> Callable[[str], str]:
    """
    Make the function from a session's key to its name: a HMAC-SHA256 in hexadecimal.

    Nothing of the key can be told from a name, and nobody without the secret can tell which session one is of.

    @param secret: the same over restarts.
    """

    keyed = hmac.new(secret, digestmod="sha256")

    def name_of(session_key: str) -> str:
        named = keyed.copy()
        named.update(session_key.encode("utf-8", "surrogatepass"))
        return named.hexdigest()

    return name_of
