"""
Bounds and forms of single values, as metadata of C{Annotated} types: C{Annotated[int, Between(1, 65535)]}.

Each check gives a phrase that follows the key's name, or C{None}; whoever calls it adds the value
(C{gateway.port: must be between 1 and 65535, got 0}), except where the value may hold a secret.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar, Protocol
from urllib.parse import urlsplit

import attrs

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*\\]+", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Check(Protocol):
    """
    A condition on one value.

    @cvar private: the value may hold a secret and must not be shown.
    """

    private: ClassVar[bool]

    def fault(self, value: object) -> str | None:
        """What is wrong with the value, or C{None}."""


@attrs.frozen
class Between:
    """A number with bounds, both included."""

    private: ClassVar[bool] = False

    least: int
    most: int

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        assert isinstance(value, int | float)
        if self.least <= value <= self.most:
            return None
        return f"must be between {self.least} and {self.most}"


@attrs.frozen
class NotBlank:
    """A text with something in it."""

    private: ClassVar[bool] = False

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        return None if str(value).strip() else "must not be empty"


@attrs.frozen
class Network:
    """An IP address or a network in CIDR form."""

    private: ClassVar[bool] = False

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        try:
            ipaddress.ip_network(str(value), strict=False)
        except ValueError:
            return "expected an IP address or a network such as 10.0.0.0/8"
        return None


@attrs.frozen
class HostAddress:
    """An IP address, or C{localhost}."""

    private: ClassVar[bool] = False

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        if value == "localhost":
            return None
        try:
            ipaddress.ip_address(str(value))
        except ValueError:
            return "expected an IP address of this machine"
        return None


@attrs.frozen
class Origin:
    """A web origin: scheme, host and perhaps a port."""

    private: ClassVar[bool] = False

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        if _ORIGIN.fullmatch(str(value)):
            return None
        return 'expected an origin such as https://chat.example (no path, no "*")'


@attrs.frozen
class HttpUrl:
    """An C{http} or C{https} URL with a host.  The message does not repeat it: it may hold a password."""

    private: ClassVar[bool] = True

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        expected = "expected a URL such as http://127.0.0.1:8080/v1"
        try:
            parts = urlsplit(str(value))
            host, port = parts.hostname, parts.port
        except ValueError:
            return expected
        if (
            parts.scheme not in ("http", "https")
            or not host
            or port == 0
            or re.search(r"[\s\x00-\x1f\x7f]", str(value))
        ):
            return expected
        if parts.username is not None or parts.password is not None:
            return "must not hold a user name or password; use apiKey or headers"
        if parts.query or parts.fragment:
            return f"{expected}, without ? and #"
        return None


@attrs.frozen
class HeaderName:
    """The name of an HTTP header."""

    private: ClassVar[bool] = False

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        return None if _HEADER_NAME.fullmatch(str(value)) else "expected the name of an HTTP header"


@attrs.frozen
class ModelRef:
    """The name of a model: C{provider/model}, split at the first slash."""

    private: ClassVar[bool] = False

    def fault(self, value: object) -> str | None:
        """See L{Check.fault}."""
        provider, _, model = str(value).partition("/")
        if provider.strip() and model.strip():
            return None
        return 'expected a model as "provider/model"'


Text = Annotated[str, NotBlank()]
"""A string that is not blank."""
