"""
The configuration's JSON Schema, and a table of its keys, made of the attrs classes.

What a class documents by C{@ivar} is the description of its keys.  Keys of the original that are accepted and not used
are listed with that remark and no type.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from openclaw.config.amounts import Duration, Size
from openclaw.config.checks import HTTP_URL, NOT_BLANK, Between
from openclaw.config.environment import ENV_ID
from openclaw.config.known import names_at
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.config.structure import Path, disk_name, disk_path

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The dialect of the schema."""

_UNUSED = "Of the original OpenClaw; accepted and not used."
_PLAIN: Mapping[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_MARKUP = re.compile(r"[CLIB]\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")


@attrs.frozen
class Setting:
    """
    A key of the configuration.

    @ivar key: its name, C{*} for any name: C{models.providers.*.baseUrl}.
    @ivar kind: what it holds, in words.
    @ivar default: as JSON would have it; C{None} if there is none.
    @ivar description: what it means; may be empty.
    """

    key: str
    kind: str
    default: Any
    description: str


@functools.cache
def config_schema() -> Mapping[str, Any]:
    """The JSON Schema of a configuration file.  Checks across several keys are not in it."""
    return {"$schema": DIALECT, "title": "OpenClaw Gateway configuration", **_schema(Config, ())}


def is_list(path: Path) -> bool:
    """Whether the configuration has a list at a path."""
    node: Any = config_schema()
    for step in path:
        node = _below(node, step)
    options = node.get("anyOf", [node])
    return any(option.get("type") == "array" for option in options)


def _below(node: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    for option in node.get("anyOf", [node]):
        found = option.get("properties", {}).get(step)
        if found is None:
            found = option.get("items") if step.isdecimal() else None
        if found is None and isinstance(option.get("additionalProperties"), dict):
            found = option["additionalProperties"]
        if found is not None:
            return dict(found)
    return {}


def settings(schema: Mapping[str, Any] | None = None, path: Path = ()) -> Iterator[Setting]:
    """
    Every key that is used and holds a value of its own, in the order of the classes.

    @param schema: of a part; the whole by default.
    @param path: where that part is.
    """
    node = config_schema() if schema is None else schema
    parts = node.get("anyOf", [node])
    record = next((part for part in parts if part.get("type") == "object"), None)
    items = next((part["items"] for part in parts if part.get("type") == "array"), None)
    if items is not None and items.get("type") == "object":
        yield Setting(disk_path(path), "list", node.get("default"), node.get("description", ""))
        yield from settings(items, (*path, "*"))
        return
    shorthand = record is not None and len(parts) > 1
    rest = None if record is None else record.get("additionalProperties")
    if path and (record is None or shorthand or not (record.get("properties") or isinstance(rest, dict))):
        yield Setting(disk_path(path), _kind(node), node.get("default"), node.get("description", ""))
    if record is None or "source" in record.get("properties", {}):
        return
    for key, below in record.get("properties", {}).items():
        if below.get("description") != _UNUSED:
            yield from settings(below, (*path, key))
    if isinstance(rest, dict):
        # what is said of an object with names of one's own is said of each of its values
        said = {"description": node["description"]} if "description" in node else {}
        yield from settings({**said, **rest}, (*path, "*"))


def _kind(node: Mapping[str, Any]) -> str:
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_kind(option) for option in node["anyOf"]))
    if "enum" in node:
        return ", ".join(f'"{choice}"' for choice in node["enum"])
    if "const" in node:
        return json.dumps(node["const"])
    if "minimum" in node:
        return f"{node['type']}, {node['minimum']} to {node['maximum']}"
    if node.get("type") == "array":
        return f"list of {_kind(node['items'])}"
    return str(node.get("type", "any"))


# ---------------------------------------------------------------------------------------- from types


def _schema(kind: Any, path: Path) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _checked(_schema(arguments[0], path), arguments[1:])
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin in (Union, types.UnionType):
        options = [_schema(one, path) for one in arguments if one is not type(None)]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], (*path, "*"))}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], (*path, "*"))}
    if kind is Secret:
        reference = {
            "type": "object",
            "properties": {
                "source": {"const": "env"},
                "provider": {"type": "string"},
                "id": {"type": "string", "pattern": f"^{ENV_ID.pattern}$"},
            },
            "required": ["source", "id"],
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": "string"}, reference]}
    if kind in (Duration, Size):
        return {"anyOf": [{"type": "string"}, {"type": "number"}, {"const": False}]}
    if attrs.has(kind):
        return _record(kind, path)
    return {"type": _PLAIN[kind]} if kind in _PLAIN else {}


def _checked(schema: dict[str, Any], checks: tuple[Any, ...]) -> dict[str, Any]:
    for check in checks:
        if isinstance(check, Between):
            schema |= {"minimum": check.least, "maximum": check.most}
        elif check == NOT_BLANK:
            schema |= {"pattern": r"\S"}
        elif check == HTTP_URL:
            schema |= {"format": "uri"}
    return schema


def _record(cls: Any, path: Path) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    meanings = _ivars(cls)
    properties: dict[str, Any] = {}
    rest: Any = False
    for field in attrs.fields(cls):
        name = disk_name(field)
        below = _schema(hints[field.name], (*path, name) if name else path)
        if not name:
            # the field stands for what is in its parent itself
            rest = {**below["additionalProperties"], "description": meanings[field.name]}
            continue
        default = _default(field)
        if default is not None:
            below = {**below, "default": default}
        if field.name in meanings:
            below = {**below, "description": meanings[field.name]}
        properties[name] = below
    required = [disk_name(field) for field in attrs.fields(cls) if field.default is attrs.NOTHING]
    unused = {name: {"description": _UNUSED} for name in sorted(names_at(path)) if name not in properties}
    record = {"type": "object", "properties": {**properties, **unused}, "additionalProperties": rest}
    if required:
        record["required"] = required
    return record if getattr(cls, "shorthand", None) is None else {"anyOf": [{"type": "string"}, record]}


def _default(field: attrs.Attribute[Any]) -> Any:
    """The default of a field where JSON can say it and it says something."""
    value = field.default
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
        return list(value)
    if isinstance(value, Duration) and value.seconds is not None:
        return f"{value.seconds / 86_400:g}d"
    if isinstance(value, Size) and value.bytes is not None:
        return f"{value.bytes / 1024**3:g}gb"
    return None


def _ivars(cls: Any) -> dict[str, str]:
    """What the docstring of a class says about its fields."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        for name, meaning in re.findall(r"^@ivar (\w+):(.*(?:\n[ \t]+.*)*)", text, re.MULTILINE):
            found[name] = _plain_text(meaning)
    return found


def _plain_text(markup: str) -> str:
    """Epytext without its marks, as one sentence."""
    text = " ".join(_MARKUP.sub(lambda found: found.group(1).rpartition("<")[2], markup).split())
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
