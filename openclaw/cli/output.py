"""What all commands share: the state they act on, and how they print."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

if TYPE_CHECKING:
    from openclaw.config.load import LoadedConfig
    from openclaw.config.paths import Paths

UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Everything that a terminal may obey, and what turns the direction of text; line breaks and tabs stay."""

_COMMAND = re.compile(r"(?<![\w./-])openclaw (?=[a-z])")

Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.define(slots=False)
class State:
    """
    The installation that the commands act on, and how they answer.

    @ivar as_json: whether the command was asked for JSON, so that its failure is JSON too.
    """

    profile: str | None = None
    log_level: str | None = None
    as_json: bool = False

    @cached_property
    def paths(self) -> Paths:
        """Where its files are; a L{openclaw.errors.StartError} if that cannot be told."""
        from openclaw.config.paths import resolve_paths

        return resolve_paths(os.environ, self.profile)

    def level(self, default: str = "info") -> str:
        """The level of the log, C{default} if nobody asks for one."""
        return self.log_level or os.environ.get("OPENCLAW_LOG_LEVEL", "").strip() or default

    def advice(self, text: str) -> str:
        """A text in which the commands of C{openclaw} act on this installation: they name its C{--profile}."""
        if self.profile is None:
            return text
        command = f"openclaw --profile {shlex.quote(self.profile)} "
        return _COMMAND.sub(lambda _: command, text)

    def load(self) -> LoadedConfig:
        """Read its configuration; a L{openclaw.errors.ConfigError} if it cannot be used."""
        from openclaw.config.load import load_config

        return load_config(self.paths.config_path, os.environ, state_dir=self.paths.state_dir)

    def show(self, value: Any, text: str) -> None:
        """Print the value if the command was asked for JSON, else the text, as L{say} does."""
        if self.as_json:
            print_json(value)
        else:
            say(text)


def advice(text: str) -> str:
    """L{State.advice} of the installation that the present command acts on."""
    context = click.get_current_context(silent=True)
    state = context.find_object(State) if context is not None else None
    return text if state is None else state.advice(text)


def json_option(command: Command) -> Command:
    """The option C{--json}, of which L{State.as_json} tells the command."""

    def note(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        ctx.ensure_object(State).as_json |= value

    option = click.option("--json", is_flag=True, is_eager=True, expose_value=False, callback=note, help="Print JSON.")
    return option(command)


def print_json(value: Any) -> None:
    """Print a value as JSON for a program, or for a person who reads like one."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """
    A value as JSON that can be shown: what a terminal would obey stands as an escape, and so does half of a surrogate
    pair, which cannot be printed.  A number that JSON does not have is C{null}, as in the original.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), indent=indent, ensure_ascii=False)
    return UNSHOWN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fail_json(message: str) -> None:
    """Print the envelope of a failure, which every C{--json} has in common."""
    print_json({"ok": False, "error": {"type": "cli_error", "message": message}})


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """
    While this lasts SIGTERM, and SIGHUP where nobody ignores it, end the program as an exception does: what was begun
    is taken back.
    """

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    caught = [number for number, action in before.items() if action != signal.SIG_IGN]
    for number in caught:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


def resume() -> None:
    """
    Collect garbage again, what is there now left out; for whatever lives longer than a command.

    L{openclaw.cli.main.main} begins without, as a command loads some fifty thousand objects that live as long as the
    process.  Walking them again and again while they come, and once more before they go, takes a third of the time of
    a short command (0.6 s against 0.4 s measured).
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return bool(sys.stdout.isatty())


def clean(text: str) -> str:
    """Foreign text without what a terminal would obey; lines stay lines."""
    return UNSHOWN.sub("", text)


def say(text: str = "", *, end: str = "\n") -> None:
    """Print foreign text at once; on a terminal without what it would obey."""
    # color=True has click leave the text as it is: what a program reads is not ours to change
    click.echo((clean(text) if is_terminal() else text) + end, nl=False, color=True)
    sys.stdout.flush()


def announce(text: str) -> None:
    """Print to standard output, if anybody still reads it: a gateway does not end because its first reader did."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(text)
