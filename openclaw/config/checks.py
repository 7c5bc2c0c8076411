"""
Bounds and forms of single values, as metadata of C{Annotated} types: C{Annotated[int, Between(1, 65535)]}.

Each check gives a phrase that follows the key's name, or C{None}; whoever calls it adds the value
(C{gateway.port: must be between 1 and 65535, got 0}), except where the value may hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import attrs

from openclaw.redact import MASK, shows_credential


@attrs.frozen
class Check:
    """
    A condition on one text.

    @ivar fault: tells what is wrong with a text, or C{None}.
    @ivar private: the text may hold a secret and must not be shown.
    """

    fault: Callable[[str], str | None]
    private: bool = False


@attrs.frozen
class Between:
    """A number with bounds, both included; used as a L{Check}."""

    private: ClassVar[bool] = False

    least: int
    most: int

    def fault(self, value: float) -> str | None:
        """What is wrong with the value, or C{None}."""
        return None if self.least <= value <= self.most else f"must be between {self.least} and {self.most}"


def matching(form: str, expected: str) -> Check:
    """A text that is all of a regular expression; C{expected} is told of any other."""
    return Check(lambda text: None if re.fullmatch(form, text) else expected)


def taken_by(parse: Callable[[str], object], expected: str = "") -> Check:
    """A text for which a function raises no C{ValueError}; of any other C{expected} is told, or what the error says."""

    def fault(text: str) -> str | None:
        try:
            parse(text)
        except ValueError as error:
            return expected or str(error)
        return None

    return Check(fault)


def _url_fault(url: str) -> str | None:
    expected = "expected a URL such as http://127.0.0.1:8080/v1"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return expected
    if parts.scheme not in ("http", "https") or not host or port == 0 or re.search(r"[\s\x00-\x1f\x7f]", url):
        return expected
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password; use apiKey or headers"
    if parts.query or parts.fragment:
        return f"{expected}, without ? and #"
    found = _OPERATION.search(parts.path)
    if found is None:
        return None
    path = "/".join(MASK if _may_be_secret(step) else step for step in parts.path[: found.start()].split("/"))
    end = found.group().rstrip("/")
    return f"must not end in {end}, to which requests go by themselves: write {parts.scheme}://{parts.netloc}{path}"


_OPERATION = re.compile(r"(?i)(?:/+chat/completions|(?<=/v[0-9])/+(?:completions|embeddings|responses|models))/*$")
"""The end of a URL that names one operation of a server, and not where its operations are."""


def _may_be_secret(step: str) -> bool:
    """Whether a part of a path may be a key: long, with letters and digits."""
    return shows_credential(step) or (len(step) >= 16 and re.search(r"\d", step) is not None)


NOT_BLANK = matching(r"\s*\S[\s\S]*", "must not be empty")
"""Something must be in it."""

NETWORK = taken_by(
    lambda text: ip_network(text, strict=False), "expected an IP address or a network such as 10.0.0.0/8"
)
"""An IP address or a network in CIDR form."""

ADDRESS = taken_by(lambda text: text == "localhost" or ip_address(text), "expected an IP address of this machine")
"""An IP address, or C{localhost}."""

ORIGIN = matching(
    r"(?i)[a-z][a-z0-9+.-]*://[^\s/?#@*\\]+", 'expected an origin such as https://chat.example (no path, no "*")'
)
"""A web origin: scheme, host and perhaps a port."""

HTTP_URL = Check(_url_fault, private=True)
"""
An C{http} or C{https} URL with a host.  The message does not repeat it, as it may hold a password, but for one that is
right up to its end.
"""

HEADER_NAME = matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "expected the name of an HTTP header")
"""The name of an HTTP header."""

MODEL_REF = matching(r"\s*[^\s/][^/]*/\s*\S[\s\S]*", 'expected a model as "provider/model"')
"""The name of a model: C{provider/model}, split at the first slash."""

Text = Annotated[str, NOT_BLANK]
"""A string that is not blank."""
