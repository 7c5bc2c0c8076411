"""A configuration file as a document: values by path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import attrs

from openclaw.config.known import names_at
from openclaw.errors import OpenClawError

Path = tuple[str, ...]
"""A place in a document: keys, and positions in lists as digits."""

_STEP = re.compile(r"""\.([^.\[\]"]+)|\[(\d+)\]|\["([^"\n]*)"\]""")


def parse_path(text: str) -> Path:
    """
    Read a path: C{gateway.port}, C{agents.list[0].id}, C{agents.list.0.id}, C{models.providers["a.b"].api}.

    @raise OpenClawError: if it is none.
    """
    steps: list[str] = []
    dotted = text if text[:1] in ("", "[") else f".{text}"
    at = 0
    while at < len(dotted):
        found = _STEP.match(dotted, at)
        if found is None:
            raise OpenClawError(f"{text}: this is no path; write it as gateway.port or agents.list[0].id")
        steps.append(next(group for group in found.groups() if group is not None))
        at = found.end()
    return tuple(steps)


def is_setting(path: Path, root: type) -> bool:
    """Whether a configuration, of the class C{root}, may have something at a path, be it used or only accepted."""
    kinds: list[Any] = [root]
    for depth, step in enumerate(path):
        if step in names_at(path[:depth]):
            return True
        kinds = [below for kind in kinds for below in _below(kind, step)]
    return bool(kinds)


def _below(kind: Any, step: str) -> list[Any]:
    """The kinds of value that a key or a position in a value of one kind can have; none if there is no such place."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _below(arguments[0], step)
    if origin is Union or type(kind).__name__ == "UnionType":
        return [below for part in arguments for below in _below(part, step)]
    if origin is tuple:
        return [arguments[0]] if step.isdecimal() else []
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return [arguments[1]]
    return _fields_below(kind, step) if attrs.has(kind) else []


def _fields_below(cls: type, step: str) -> list[Any]:
    from openclaw.config.structure import disk_name

    hints = get_type_hints(cls, include_extras=True)
    fields = {disk_name(field): hints[field.name] for field in attrs.fields(cls)}
    if step in fields:
        return [fields[step]]
    # a field without a name of its own stands for what is in its parent itself
    return _below(fields[""], step) if "" in fields else []
