"""
What an edit of the configuration takes: nothing, a new value while the gateway runs, or a restart.

One table says it; the longest name in it that a key has or lies under decides.  The table is that of the original,
where we have the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from openclaw.config.known import names_at
from openclaw.config.models import LOCAL_PROVIDER
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.config.structure import disk_name, disk_path

Effect = Literal["none", "hot", "restart"]
"""What a changed key takes: nothing at all, its new value being read when it is needed, or a restart."""

RULES: Mapping[str, Effect] = {
    "$schema": "none",
    "meta": "none",
    "wizard": "none",
    "gateway.reload": "none",
    "gateway.remote": "none",
    "agents": "hot",
    "models": "hot",
    # The child process has these at its start.
    "models.local": "restart",
    "env": "hot",
    "session": "hot",
    "tools": "hot",
    "messages": "hot",
    "logging": "hot",
    # What is written to a terminal, and how large a file may be, is settled when they are opened.
    "logging.consoleLevel": "restart",
    "logging.consoleStyle": "restart",
    "logging.maxFileBytes": "restart",
    "gateway.auth.token": "hot",
    "gateway.auth.password": "hot",
    "gateway.auth.rateLimit": "hot",
    "gateway.controlUi.allowedOrigins": "hot",
    "gateway.http.cors": "hot",
    "gateway.http.endpoints": "hot",
    "gateway.metrics": "hot",
    "gateway.shutdownDrainMs": "hot",
    "gateway.tools": "hot",
    "gateway.trustedProxies": "hot",
}
"""
Names of keys, and what a change of them takes.  A key that is not in here, nor below one that is, needs a restart,
unless it is one that we accept and do not use (L{openclaw.config.known}).

C{gateway.auth.token} and C{password} are what they say while C{gateway.auth.mode} stays what it is.
"""


def effect_of(key: str) -> Effect:
    """
    What a change of a key takes.

    @param key: its name on disk, as L{changed_keys} gives it.
    """
    name = key
    while name:
        effect = RULES.get(name)
        if effect is not None:
            return effect
        name = name[: max(name.rfind("."), name.rfind("["), 0)]
    parts = key.split(".")
    is_unused = any(part in names_at(parts[:depth]) for depth, part in enumerate(parts))
    return "none" if is_unused else "restart"


def restart_keys(changed: Iterable[str]) -> tuple[str, ...]:
    """
    Those of the changed keys that take a restart.

    @param changed: names of keys on disk, such as those of L{changed_keys}.
    """
    return tuple(key for key in changed if effect_of(key) == "restart")


def changed_keys(old: object, new: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of the settings in which two configurations differ; never their values."""
    if old == new:
        return
    kind: Any = type(old)
    if attrs.has(kind) and kind is type(new) and kind is not Secret:
        for field in attrs.fields(kind):
            below = (*path, disk_name(field))
            yield from changed_keys(getattr(old, field.name), getattr(new, field.name), below)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from changed_keys(old.get(key), new.get(key), (*path, key))
    else:
        yield disk_path(path)


def with_hot_changes(running: Any, edited: Any, path: tuple[str, ...] = ()) -> Any:
    """
    Make a configuration with all of an edit but what takes a restart.

    A record is taken apart only where L{RULES} tell its keys apart; so what belongs together comes from one side.

    @param running: the configuration that applies, or a part of it.
    @param edited: what the file has in its place.
    @param path: where that part is.
    """
    if running == edited:
        return edited
    name = disk_path(path)
    kind: Any = type(running)
    if not attrs.has(kind) or kind is not type(edited) or not _is_divided(name):
        return running if effect_of(name) == "restart" else edited
    changes: dict[str, Any] = {}
    for field in attrs.fields(kind):
        parts = getattr(running, field.name), getattr(edited, field.name)
        changes[field.name] = with_hot_changes(*parts, (*path, disk_name(field)))
    return kind(**changes)


def _is_divided(name: str) -> bool:
    """Whether the rules name a key below this one; the empty name is that of the whole."""
    return not name or any(rule.startswith(f"{name}.") for rule in RULES)


def local_refs(config: Config) -> frozenset[str]:
    """The models of the embedded provider that the agents of a configuration use, fallbacks included."""
    choices = [config.agents.model_for(agent_id) for agent_id in config.agents.agent_ids]
    refs = {ref for choice in choices for ref in (choice.refs if choice is not None else (config.models.local_ref,))}
    return frozenset(ref for ref in refs if ref.partition("/")[0] == LOCAL_PROVIDER)


def needs_local_model(config: Config) -> bool:
    """Whether an agent of a configuration uses the embedded model, if only as a fallback."""
    return config.models.local_ref in local_refs(config)
