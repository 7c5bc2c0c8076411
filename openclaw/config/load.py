"""Read the configuration file."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pyjson5

from openclaw.config.env import regrouped
from openclaw.config.environment import MAX_DEPTH, Filled, fill, parse_dotenv
from openclaw.config.known import names_at, without_unused
from openclaw.config.proxies import faults_of_environ
from openclaw.config.schema import Config
from openclaw.config.structure import bounded, disk_path, shown, structure
from openclaw.errors import ConfigError

MAX_CONFIG_BYTES = 2 * 1024 * 1024
"""Largest configuration file, bytes."""

MAX_DOTENV_BYTES = 64 * 1024
"""Largest C{.env} file, bytes."""


@attrs.frozen
class LoadedConfig:
    """
    A configuration and where it comes from.

    @ivar path: the file.
    @ivar exists: false if there is none and the defaults apply.
    @ivar warnings: sentences for the log.
    @ivar environ: the environment together with C{<state>/.env} and the file's C{env} section; look for credentials
        in here.
    """

    config: Config
    path: Path
    exists: bool
    warnings: tuple[str, ...]
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def parse_config(document: object, environ: Mapping[str, str]) -> tuple[Config, tuple[str, ...]]:
    """
    Turn a document in memory into a configuration.

    @param environ: the environment, for C{${NAME}}.
    @return: the configuration, and warnings.
    @raise ConfigError: naming every problem.
    """
    return _parse(document, environ)[:2]


def load_config(path: Path, environ: Mapping[str, str], state_dir: Path | None = None) -> LoadedConfig:
    """
    Read a configuration file and the C{.env} beside the state.  Blocks while it reads.

    @param state_dir: where C{.env} lies; without it C{OPENCLAW_STATE_DIR}, else the folder of C{path}.
    @return: the defaults if there is no file.
    @raise ConfigError: naming every problem; its C{path} is set.
    """
    folder = state_dir or Path(environ.get("OPENCLAW_STATE_DIR") or path.parent)
    values, warnings = read_dotenv(folder / ".env")
    try:
        found = read_regular(path, MAX_CONFIG_BYTES)
        config, more, merged = _parse({} if found is None else decode_json5(found[0]), {**values, **environ})
    except ConfigError as error:
        raise ConfigError(error.problems, str(path)) from None
    if found is not None and found[1] & stat.S_IWOTH:
        warnings += (f"every user of this machine can change {path}; run: chmod 600 {path}",)
    elif found is not None and found[1] & 0o077 and any(secret.literal for _, secret in config.secrets()):
        warnings += (f"{path} holds secrets and other users can read it; run: chmod 600 {path}",)
    return LoadedConfig(config, path, found is not None, warnings + more, merged)


def read_document(path: Path) -> Any:
    """
    The document as it stands in a configuration file, nothing filled in; C{None} if there is no file.

    @raise ConfigError: if it cannot be read or is not JSON5.
    """
    found = read_regular(path, MAX_CONFIG_BYTES)
    return None if found is None else decode_json5(found[0])


def read_regular(path: Path, max_bytes: int) -> tuple[bytes, int] | None:
    """
    The content and mode of a regular file, or of the one that a link leads to; C{None} if there is nothing.

    @raise ConfigError: if it cannot be read, is larger than that, no file, or a symbolic link to nothing.
    """
    try:
        # NONBLOCK: opening a named pipe must not wait for its writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        # Whoever made the link wants other settings than the defaults.
        if path.is_symlink():
            raise ConfigError([f"{path} is a symbolic link to {os.path.realpath(path)}, which is not there"]) from None
        return None
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError([f"{path} is not a regular file"])
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ConfigError([f"{path} is larger than {max_bytes} bytes"])
    return content, status.st_mode


def read_dotenv(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The values of a C{.env} file, and warnings for what of it is not used."""
    try:
        found = read_regular(path, MAX_DOTENV_BYTES)
        values, bad = parse_dotenv(found[0].decode()) if found is not None else ({}, ())
    except ConfigError as error:
        return {}, (f"{error.problems[0]}; it is not used",)
    except UnicodeDecodeError:
        return {}, (f"{path} is not UTF-8; it is not used",)
    return values, tuple(f"{path}: line {number} is not NAME=value; it is not used" for number in bad[:10])


def decode_json5(content: bytes) -> object:
    """
    JSON5 to plain values.

    @raise ConfigError: with line and column, if it is none.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"line {line}: not UTF-8"]) from None
    try:
        return pyjson5.decode(text, maxdepth=MAX_DEPTH)
    except pyjson5.Json5NestingTooDeep:
        raise ConfigError([f"nested too deeply; at most {MAX_DEPTH} levels"]) from None
    except pyjson5.Json5DecoderException as error:
        raise ConfigError([_syntax_problem(text, str(error.args[0]))]) from None


def _syntax_problem(text: str, message: str) -> str:
    """
    One line for a syntax error, such as C{line 2, column 4: not valid JSON5: expected comma or "]", found "b"}.

    pyjson5 tells the place as C{near N}, the count of characters up to and with the one at fault, in the text.
    """
    near = re.search(r" near (\d+)", message)
    at = max(int(near.group(1)) - 1, 0) if near else 0
    extra = re.fullmatch(r"Extra data U\+([0-9A-Fa-f]+) near \d+", message)
    if extra:
        at = text.find(chr(int(extra.group(1), 16)), at + 1)  # here it tells where the blanks before it begin
    line, column = text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
    plain = re.sub(r"( starting)? near \d+", "", message)
    plain = re.sub(r"b'([^']*)'", r"\1", plain)
    plain = re.sub(r"U\+([0-9A-Fa-f]{4,6})", lambda found: f'"{chr(int(found.group(1), 16))}"', plain)
    reason = plain[:1].lower() + plain[1:] if not plain.startswith("No JSON") else "the file holds no data"
    return f"line {line}, column {column}: not valid JSON5: {reason}"


def _parse(document: object, environ: Mapping[str, str]) -> tuple[Config, tuple[str, ...], Mapping[str, str]]:
    """The configuration, warnings, and the environment together with the section C{env}."""
    if not isinstance(document, dict):
        raise ConfigError([f"expected an object at the top, got {shown(document, private=True)}"])
    problems: list[str] = []
    used, unused = without_unused(document)
    used = _without_includes(used, (), problems)
    warnings: list[str] = []

    def on_missing(path: tuple[str, ...], names: tuple[str, ...]) -> None:
        plural = "s" if len(names) > 1 else ""
        warnings.append(f"{disk_path(path)}: environment variable{plural} not set: {', '.join(names)}")

    merged = dict(environ)
    if isinstance(used.get("env"), dict):
        used["env"] = fill(regrouped(used["env"]), environ, on_missing, ("env",))
        merged = {**_env_values(used["env"]), **environ}
    for key in used.keys() - {"env"}:
        used[key] = fill(used[key], merged, on_missing, (key,))
    config = None
    try:
        config = structure(used, Config, names_at)
    except ConfigError as error:
        problems += error.problems
    if config is None or problems:
        raise ConfigError(bounded(problems))
    if unused:
        warnings.append(f"these settings are accepted and not used: {', '.join(unused)}")
    warnings += [f"{key}: {reason}" for key, reason in config.foreign_models()]
    warnings += faults_of_environ(merged)
    return config, tuple(warnings), merged


def _without_includes(value: Any, path: tuple[str, ...], problems: list[str]) -> Any:
    """
    Take each C{$include} out of a document, with a problem for each.

    @raise ConfigError: if the document is nested deeper than L{MAX_DEPTH}.
    """
    if len(path) > MAX_DEPTH:
        raise ConfigError([f"{disk_path(path[:4])}: nested too deeply; at most {MAX_DEPTH} levels"])
    if isinstance(value, list):
        return [_without_includes(item, (*path, str(index)), problems) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "$include" in value:
        where = disk_path((*path, "$include"))
        problems.append(f"{where}: not available yet; put the settings of that file in its place")
    return {
        key: _without_includes(item, (*path, str(key)), problems) for key, item in value.items() if key != "$include"
    }


def _env_values(section: Mapping[str, Any]) -> dict[str, str]:
    """The usable strings of a regrouped C{env} section; whatever else it holds is named later."""
    groups = [group for group in (section[""], section["vars"]) if isinstance(group, dict)]
    values = {name: value for group in groups for name, value in group.items()}
    return {
        str(name): str(value)
        for name, value in values.items()
        if isinstance(value, str) and not (isinstance(value, Filled) and value.missing)
    }
