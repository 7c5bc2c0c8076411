"""What the environment gives to a configuration: C{${NAME}} in strings, secret references, and C{.env} files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Self

MAX_DEPTH = 64
"""Deepest nesting of objects and lists in a configuration."""

ENV_ID = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
"""The C{id} of a secret reference whose source is the environment."""

_REFERENCE_KEYS = {"source", "provider", "id"}
_PLACEHOLDER = re.compile(r"(\$?)\$\{([A-Z_][A-Z0-9_]*)\}")
_DOTENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Filled(str):
    """
    A string of the configuration that took something from the environment.

    @ivar written: what stands in the file; shown in error messages in place of the value, which may be a secret.
    @ivar missing: names that it needs and that are not set.
    @ivar reference: it was a secret reference.
    """

    __slots__ = ("missing", "reference", "written")

    written: str
    missing: tuple[str, ...]
    reference: bool

    @classmethod
    def make(cls, value: str, *, written: str, missing: tuple[str, ...] = (), reference: bool = False) -> Self:
        """Make one; see the attributes."""
        made = cls(value)
        made.written = written
        made.missing = missing
        made.reference = reference
        return made


def fill_text(text: str, environ: Mapping[str, str]) -> str:
    """
    Substitute C{${NAME}} in one string; C{$${NAME}} gives a literal C{${NAME}}.

    A name that is missing or empty leaves the text as it stands.

    @return: C{text} itself if nothing in it is substituted, else a L{Filled}.
    """
    missing: list[str] = []

    def value_of(found: re.Match[str]) -> str:
        escaped, name = found.groups()
        if escaped:
            return found.group()[1:]
        value = environ.get(name)
        if not value:
            missing.append(name)
            return found.group()
        return value

    filled, count = _PLACEHOLDER.subn(value_of, text)
    if not count:
        return text
    return Filled.make(filled, written=text, missing=tuple(dict.fromkeys(missing)))


def is_env_reference(value: Mapping[object, object]) -> bool:
    """Whether an object is a well-formed secret reference into the environment."""
    name = value.get("id")
    return (
        value.get("source") == "env"
        and value.keys() <= _REFERENCE_KEYS
        and isinstance(name, str)
        and ENV_ID.fullmatch(name) is not None
    )


def fill(
    value: object,
    environ: Mapping[str, str],
    on_missing: Callable[[tuple[str, ...], tuple[str, ...]], None],
    path: tuple[str, ...] = (),
) -> object:
    """
    Substitute in all strings of a document, and resolve its references into the environment.

    @param on_missing: called with the path of a string and the names that it lacks.
    @return: a changed copy.
    """
    if isinstance(value, str):
        filled = fill_text(value, environ)
    elif isinstance(value, dict):
        if not is_env_reference(value):
            return {key: fill(item, environ, on_missing, (*path, str(key))) for key, item in value.items()}
        name = value["id"]
        found = environ.get(name, "")
        missing = () if found else (name,)
        filled = Filled.make(found, written=f"<environment variable {name}>", missing=missing, reference=True)
    elif isinstance(value, list):
        return [fill(item, environ, on_missing, (*path, str(index))) for index, item in enumerate(value)]
    else:
        return value
    if isinstance(filled, Filled) and filled.missing:
        on_missing(path, filled.missing)
    return filled


def parse_dotenv(text: str) -> tuple[dict[str, str], tuple[int, ...]]:
    """
    Read the lines C{NAME=value} of a C{.env} file.

    Blank lines, C{#} comments and a leading C{export} are allowed; a value may stand in single quotes (taken as it
    is) or double quotes (C{\\n}, C{\\r}, C{\\t} and an escaped character are decoded).

    @return: the values, the last of a name winning, and the numbers of the lines that say nothing intelligible.
    """
    values: dict[str, str] = {}
    bad: list[int] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        stripped = line.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, rest = stripped.partition("=")
        value = _dotenv_value(rest.strip())
        if not separator or not _DOTENV_NAME.fullmatch(name.strip()) or value is None:
            bad.append(number)
        else:
            values[name.strip()] = value
    return values, tuple(bad)


def _dotenv_value(text: str) -> str | None:
    """The value that the right side of a line means; C{None} if a quote is left open."""
    if text[:1] not in ("'", '"'):
        return re.split(r"\s#|^#", text, maxsplit=1)[0].rstrip()
    quote = text[0]
    body = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
    found = re.fullmatch(body + r"\s*(?:#.*)?", text)
    if found is None:
        return None
    if quote == "'":
        return found.group(1)
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group(1)), found.group(1))
