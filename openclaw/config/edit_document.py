"""
Changes of a configuration as a document: set, unset, merge, and the guard of what must not get lost by accident.

Nothing here touches a file; every function leaves its arguments as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from openclaw.config.json_schema import is_list
from openclaw.config.structure import Path, disk_path
from openclaw.errors import OpenClawError

GUARDED: tuple[Path, ...] = (
    ("agents", "entries"),
    ("agents", "defaults", "models"),
    ("models", "providers"),
    ("models", "providers", "*"),
    ("models", "providers", "*", "models"),
    ("plugins", "entries"),
    ("auth", "profiles"),
)
"""Objects and lists of which a C{set} removes entries only when told so; C{*} stands for any name."""

ABSENT = object()
"""What is where nothing is; C{None} is a value."""


def value_at(document: Any, path: Path) -> Any:
    """The value at a path, or L{ABSENT}."""
    value = document
    for step in path:
        # a position of more digits than any list has items is none, and may be more than int() takes
        if isinstance(value, list) and step.isdecimal() and len(step) < 9 and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return ABSENT
    return value


def is_set(document: Any, path: Path) -> bool:
    """Whether there is something at a path."""
    return value_at(document, path) is not ABSENT


def with_value(document: Any, path: Path, value: Any, *, merge: bool = False) -> Any:
    """
    Put a value at a path; the objects and lists on the way are made where they are missing.

    @param path: keys, and positions of lists as digits; a list grows by one at its end.
    @param merge: merge objects into what is there, see L{merged}, without a meaning of C{null}.
    @raise OpenClawError: if something on the way is neither object nor list, or a position is beyond the end.
    """
    result = copy.deepcopy(document)
    if not path:
        return _merged_plain(result, value) if merge else copy.deepcopy(value)
    place = result
    for depth, step in enumerate(path[:-1], 1):
        if not is_set(place, (step,)):
            _put(place, path[:depth], [] if path[depth].isdecimal() and is_list(path[:depth]) else {})
        place = value_at(place, (step,))
    old = value_at(place, path[-1:])
    _put(place, path, _merged_plain(old, value) if merge else copy.deepcopy(value))
    return result


def _put(place: Any, path: Path, value: Any) -> None:
    """Put a value where the last step of a path leads, in what the steps before it lead to."""
    if isinstance(place, dict):
        place[path[-1]] = value
    elif isinstance(place, list):
        at = _position(place, path)
        place[at : at + 1] = [value]
    else:
        raise OpenClawError(f"{disk_path(path[:-1])}: this is neither an object nor a list; nothing fits into it")


def _position(place: list[Any], path: Path) -> int:
    step = path[-1]
    if not step.isdecimal():
        raise OpenClawError(f"{disk_path(path[:-1])}: this is a list; its items have positions such as [0]")
    at = int(step) if len(step) < 9 else len(place) + 1
    if at > len(place):
        raise OpenClawError(f"{disk_path(path)}: the list has {len(place)} items; the next position is {len(place)}")
    return at


def without_value(document: Any, path: Path) -> Any:
    """
    Take what is at a path away.

    @raise OpenClawError: if there is nothing.
    """
    if not path:
        raise OpenClawError("name what is to be removed; the whole configuration is not removed by this")
    if not is_set(document, path):
        raise OpenClawError(f"{disk_path(path)}: not set")
    result = copy.deepcopy(document)
    place = value_at(result, path[:-1])
    del place[int(path[-1]) if isinstance(place, list) else path[-1]]
    return result


def _merged_plain(old: Any, value: Any) -> Any:
    if isinstance(old, dict) and isinstance(value, dict):
        return {**old, **{key: _merged_plain(old.get(key, ABSENT), item) for key, item in value.items()}}
    if _have_ids(old) and _have_ids(value):
        places = {item["id"]: item for item in old}
        for item in value:
            places[item["id"]] = _merged_plain(places.get(item["id"], ABSENT), item)
        return list(places.values())
    return copy.deepcopy(value)


def _have_ids(value: Any) -> bool:
    """Whether a value is a list of objects that each have an id of their own."""
    if not isinstance(value, list) or not value:
        return False
    ids = [item.get("id") if isinstance(item, dict) else None for item in value]
    return all(isinstance(one, str) for one in ids) and len(set(ids)) == len(ids)


def merged(document: Any, patch: Any, replace_paths: Collection[Path] = ()) -> Any:
    """
    Apply a JSON merge patch: objects are merged, C{null} removes, anything else replaces.

    Lists of objects with an C{id} are merged item by item.

    @param replace_paths: lists that the patch replaces as a whole.
    @raise OpenClawError: if the patch is no object, or would take items out of a list that is not named.
    """
    if not isinstance(patch, dict):
        raise OpenClawError("the patch must be an object")
    return _patched(copy.deepcopy(document), patch, (), replace_paths)


def _patched(old: Any, patch: Any, path: Path, replace_paths: Collection[Path]) -> Any:
    if isinstance(patch, dict):
        result = dict(old) if isinstance(old, dict) else {}
        for key, item in patch.items():
            if item is None:
                result.pop(key, None)
            else:
                result[key] = _patched(result.get(key), item, (*path, key), replace_paths)
        return result
    if isinstance(old, list) and isinstance(patch, list) and path not in replace_paths:
        if _have_ids(old) and (_have_ids(patch) or not patch):
            if not patch:
                raise _list_loss(path)
            places = {item["id"]: item for item in old}
            for item in patch:
                below = (*path, item["id"])
                places[item["id"]] = _patched(places.get(item["id"]), item, below, replace_paths)
            return list(places.values())
        if any(item not in patch for item in old):
            raise _list_loss(path)
    return copy.deepcopy(patch)


def _list_loss(path: Path) -> OpenClawError:
    name = disk_path(path)
    return OpenClawError(f"{name}: the patch takes items out of this list; if that is meant, add --replace-path {name}")


def lost_entries(before: Any, after: Any, path: Path) -> list[str]:
    """
    The entries of guarded objects and lists at or below a path that a change of it removes.

    @return: names such as C{agents.entries.main}.
    """
    lost: list[str] = []
    for pattern in GUARDED:
        for place in _places(before, pattern):
            if place[: len(path)] != path:
                continue
            new = _names(value_at(after, place))
            lost += [disk_path((*place, name)) for name in _names(value_at(before, place)) if name not in new]
    return list(dict.fromkeys(lost))


def _places(document: Any, pattern: Path) -> list[Path]:
    """The places of a document that a pattern means."""
    found: list[Path] = [()]
    for step in pattern:
        below: list[Path] = []
        for place in found:
            value = value_at(document, place)
            if isinstance(value, dict):
                below += [(*place, key) for key in value if step in ("*", key)]
        found = below
    return found


def _names(value: Any) -> list[str]:
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, list):
        return [str(item["id"]) for item in value if isinstance(item, dict) and isinstance(item.get("id"), str)]
    return []
