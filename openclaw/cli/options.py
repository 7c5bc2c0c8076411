"""How commands get their options: several by one decorator, and those that belong together as one value."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import click

DEFAULT_TIMEOUT_S = 10.0
"""How long a command waits for an answer unless told otherwise, in seconds."""

Command = TypeVar("Command", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator; the help has them in this order."""

    def decorate(command: Command) -> Command:
        return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)

    return decorate


def gathered(name: str, kind: type) -> Callable[[Command], Command]:
    """
    Give a command the options that are called as the fields of an attrs class as one value.  Stands below them.

    @param name: the command's argument for the value.
    @param kind: the class.
    """
    fields = [field.name for field in attrs.fields(kind)]

    def decorate(command: Any) -> Any:
        @functools.wraps(command)
        def gathering(*arguments: Any, **options: Any) -> Any:
            value = kind(**{field: options.pop(field) for field in fields})
            return command(*arguments, **{name: value}, **options)

        return gathering

    return decorate


class Seconds(click.FloatRange):
    """A length of time on the command line, in seconds.  C{nan}, which passes any comparison with bounds, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a length of time.", param, ctx)
        return seconds


def timeout_option(default_s: float = DEFAULT_TIMEOUT_S) -> Callable[[Command], Command]:
    """The option C{--timeout}, in seconds."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=Seconds(0.1, 600),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for an answer.",
    )
