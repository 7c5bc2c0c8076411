"""C{config.get}: the configuration, as it stands in its file and as it is in force; never its secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openclaw.auth.scopes import READ
from openclaw.config.load import load_config, read_document
from openclaw.config.redaction import as_document, redacted, secret_values
from openclaw.config.reload import LiveConfig, ReadInThread
from openclaw.config.schema import Config
from openclaw.errors import ConfigError
from openclaw.interfaces import Clock
from openclaw.methods.checks import read_in_time
from openclaw.methods.table import Call, Method, NoParams

_PROBLEM = re.compile(r'((?:[^\s:"\[]|\["[^"]*"\]|:(?! ))+): (.*)', re.DOTALL)
"""A problem that begins with the name of a key, which may hold blanks between brackets and quotes."""


@attrs.frozen
class ConfigFile:
    """
    Which file it is, and how it is read.

    @ivar environ: the environment as L{load_config} takes it.
    @ivar hash_key: makes the hash of the file useless for guessing what is in it; the same for the process's life.
    """

    path: Path
    state_dir: Path
    environ: Mapping[str, str] = attrs.field(repr=False)
    hash_key: bytes = attrs.field(repr=False)


def document_hash(document: Any, key: bytes) -> str:
    """Tells a client whether a document has changed; it is keyed, as a plain hash would let a reader try passwords."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    digest = hmac.digest(key, text.encode(), hashlib.sha256)
    return "hmac-sha256:v1:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _issue(problem: str) -> dict[str, str]:
    """A problem C{key: text} in its two parts."""
    found = _PROBLEM.fullmatch(problem)
    return {"path": found[1], "message": found[2]} if found else {"path": "", "message": problem}


def _answer(file: ConfigFile, config: Config, environ: Mapping[str, str]) -> dict[str, Any]:
    """
    In a thread, as large files take long: what stands in the file, what is wrong with it, and what is in force.

    @param config: what is in force.
    @param environ: the environment that it was read with.
    """
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    document: Any = None
    try:
        document = read_document(file.path)
        warnings = load_config(file.path, file.environ, file.state_dir).warnings
    except ConfigError as error:
        problems = error.problems
    shown = redacted(document, known=frozenset(secret_values(config, environ))) if document is not None else {}
    in_force = as_document(config)
    return {
        "path": str(file.path),
        "exists": document is not None or bool(problems),
        "raw": None,
        "parsed": shown,
        "sourceConfig": shown,
        "resolved": shown,
        "valid": not problems,
        "runtimeConfig": in_force,
        "config": in_force,
        "hash": document_hash(document, file.hash_key),
        "issues": [_issue(problem) for problem in problems],
        "warnings": list(warnings),
        "legacyIssues": [],
    }


def config_methods(file: ConfigFile, live: LiveConfig, in_thread: ReadInThread, clock: Clock) -> tuple[Method, ...]:
    """The methods of this family."""

    async def get(call: Call, params: NoParams) -> dict[str, Any]:
        """
        The file and the configuration in force.

        C{parsed} is what stands in the file; C{config} what the gateway works with, which differs while a change
        waits for a restart, or while the file is broken.
        """
        answer: dict[str, Any] = await read_in_time(in_thread(_answer, file, live.current, live.environ), clock)
        return answer

    return (Method("config.get", READ, NoParams, get),)
