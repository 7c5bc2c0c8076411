"""One question to a model server: is it there, and does it take our key."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from openclaw.cli.tables import cell
from openclaw.config.proxies import UnusableProxy, proxy_of_environ

TIMEOUT_S = 5.0
"""Longest silence of the server, seconds."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def probe(base_url: str, api_key: str | None, timeout_s: float = TIMEOUT_S) -> str | None:
    """
    Ask a server for its models.  Blocks.

    @return: what is wrong, as half a sentence that never holds the key; C{None} if it answers.
    """
    url = f"{base_url.rstrip('/')}/models"
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    if api_key is not None:
        request.add_unredirected_header("Authorization", f"Bearer {api_key}")
    # By the same proxy as the gateway itself; the library's own choice of one is another.
    try:
        proxy = proxy_of_environ(url, os.environ)
    except UnusableProxy as error:
        return f"{url} cannot be reached: {error}"
    if proxy is not None and proxy.with_tls:
        return None  # the library speaks no TLS to a proxy: nothing is known
    user = "" if proxy is None or proxy.user is None else f"{quote(proxy.user, safe=':')}@"
    proxies = {} if proxy is None else dict.fromkeys(("http", "https"), f"http://{user}{proxy.where}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirect())
    try:
        with opener.open(request, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return f"{url} does not answer ({cell(text)})"
    if status in (401, 403):
        return f"{url} refuses the API key (HTTP {status})" if api_key else f"{url} wants an API key (HTTP {status})"
    if status == 404:
        return f"{url} is not there (HTTP 404); does the URL end in /v1?"
    return f"{url} answers HTTP {status}"
