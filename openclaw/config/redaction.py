"""Documents and settings as they may be shown, without their secrets; and what those are, for the log to mask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

import attrs

from openclaw.config.amounts import Duration, Size
from openclaw.config.proxies import PROXY_VARIABLES, UnusableProxy, parse_proxy
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.config.structure import disk_name
from openclaw.redact import shows_credential

REDACTED = "__OPENCLAW_REDACTED__"
"""What stands in the place of a secret, as in the original."""

LEAST_KNOWN_CHARACTERS = 8
"""A shorter secret may be an ordinary word: the name of a model server that wants any key, for example."""

_SECRET_KEY = re.compile(
    r"(token|passw(or)?d|passphrase|secret|api_?keys?|private_?key|credentials?|authorization|cookie)$", re.I
)
_ALL_SECRET = frozenset({"env", "vars", "headers"})
"""The objects of which every string counts as a secret."""

_SECRET_PLACES = frozenset({("auth", "value"), ("tls", "ca"), ("tls", "cert"), ("tls", "key")})
"""Strings that are secrets by their key and that of the object around them: those of a provider's C{request}."""

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:token|password|passwd|secret|api_?keys?|access_?key|private_?key|credentials?)s?(?:$|_)"
)
_PLACEHOLDER = re.compile(r"\$\{[A-Z_][A-Z0-9_]*\}")
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET_IN_QUERY = re.compile(
    r"(?<=[?&])((?:[\w.-]*[_.-])?(?:key|token|secret|passw(?:or)?d|signature|sig|auth|code)=)[^&#\s]+", re.I
)


def redacted(value: Any, *, known: Set[str] = frozenset(), below: str = "", hide: bool = False) -> Any:
    """
    A copy of a document without its secrets.

    A document may have settings of which the configuration knows nothing, so a key's name decides: what is called a
    token, password, secret or key is hidden, and so is every header and variable, and what is a key by its looks.
    What only names an environment variable stays, and so does a secret reference.

    @param known: secrets that are hidden wherever they stand: below a key that was misspelt, for example.  Those of
        less than L{LEAST_KNOWN_CHARACTERS} characters are passed over.
    @param below: the key of C{value}.
    @param hide: whether C{value} is a secret if it is a string.
    """
    if isinstance(value, dict):
        hide = below in _ALL_SECRET or (hide and not ("source" in value and "id" in value))
        return {
            key: redacted(item, known=known, below=str(key), hide=hide or _is_secret(below, str(key)))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item, known=known, below=below, hide=hide) for item in value]
    if not isinstance(value, str) or _PLACEHOLDER.fullmatch(value):
        return value
    hide = hide or (len(value) >= LEAST_KNOWN_CHARACTERS and value in known)
    # A proxy's URL may do without a scheme, and then nothing else tells that it holds a password.
    hide = hide or (below in ("proxy", "url") and "@" in value and "://" not in value)
    return REDACTED if hide else _open_text(value)


def _is_secret(below: str, key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) or (below, key) in _SECRET_PLACES


def _open_text(text: str) -> str:
    """A text that is not called a secret, but may be one by its looks, or a URL that holds one."""
    if shows_credential(text):
        return REDACTED
    if "://" not in text:
        return text
    return _SECRET_IN_QUERY.sub(rf"\g<1>{REDACTED}", _USER_IN_URL.sub(REDACTED, text))


def secret_values(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """
    The secrets of a configuration, and the values of variables whose names say that they are some.

    @param environ: L{openclaw.config.load.LoadedConfig.environ}; of a list of keys each one is given, too.
    """
    for _, secret in config.secrets():
        if secret.usable:
            yield secret.reveal()
            yield from _proxy_secrets(secret.reveal())
    for name, value in environ.items():
        if name in PROXY_VARIABLES:
            yield from _proxy_secrets(value)
        if _SECRET_NAME.search(name):
            yield value
            if "," in value:
                yield from value.split(",")


def _proxy_secrets(url: str) -> Iterator[str]:
    """What of a text that may be a proxy's URL is secret: its password as it stands and decoded, and what is sent."""
    if "@" not in url:
        return
    yield url.rpartition("@")[0].rpartition("://")[2].partition(":")[2]
    try:
        proxy = parse_proxy(url)
    except UnusableProxy:
        return
    if proxy.user is not None and proxy.authorization is not None:
        yield proxy.user.partition(":")[2]
        yield proxy.authorization.partition(" ")[2]


def as_document(value: Any) -> Any:
    """
    Settings as the document that would give them, without their secrets.

    What is not set (C{None}, an empty list or object) is left out.
    """
    if isinstance(value, Secret):
        return REDACTED
    if isinstance(value, Duration):
        return False if value.seconds is None else f"{value.seconds:g}s"
    if isinstance(value, Size):
        return False if value.bytes is None else f"{value.bytes}b"
    if attrs.has(type(value)):
        shown: dict[str, Any] = {}
        for field in attrs.fields(type(value)):
            item = as_document(getattr(value, field.name))
            name = disk_name(field)
            if not name and isinstance(item, dict):
                shown |= item
            elif item is not None and item not in ([], {}):
                shown[name] = item
        return shown
    if isinstance(value, Mapping):
        return {str(key): as_document(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [as_document(item) for item in value]
    return _open_text(value) if isinstance(value, str) else value
