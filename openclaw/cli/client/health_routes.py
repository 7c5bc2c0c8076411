"""What a gateway says of its health to whoever asks, by HTTP and without a credential."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

MAX_ANSWER_BYTES = 65536
"""How much of an answer is read."""


def fetch(url: str, timeout_s: float) -> dict[str, Any]:
    """
    A JSON object from the gateway; the answers 503 of its health routes are answers too.

    @param timeout_s: longest silence, seconds.
    @raise OSError: if nobody answers.
    @raise http.client.HTTPException: if what answers does not speak HTTP.
    @raise ValueError: if what answers is no gateway.
    """
    # The gateway is on this machine or named on purpose: a proxy of the environment has no part in it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            content = response.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            content = error.read(MAX_ANSWER_BYTES)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not ("ready" in value or "status" in value):
        raise ValueError("what answers there is no gateway")
    return value
