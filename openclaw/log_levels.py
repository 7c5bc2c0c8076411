"""
The levels of the log, for all and for single parts.

It stands alone so that the configuration can be read without Twisted's loggers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import attrs

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warn": 30, "error": 40, "critical": 50, "silent": 60}
"""The levels, and the one that lets nothing through."""

_ALIASES = {"trace": "debug", "warning": "warn", "fatal": "critical"}

_SUBSYSTEM = re.compile(r"[A-Za-z_][\w./-]{0,99}")

# Twisted and Autobahn tell about every connection, in lines that anybody can cause; that is for debugging only.
_QUIET = (
    ("twisted.web", LEVELS["error"]),
    ("twisted", LEVELS["warn"]),
    ("log_legacy", LEVELS["warn"]),
    ("autobahn", LEVELS["error"]),
)


def level_number(name: str) -> int:
    """
    The number of a level, of L{LEVELS} or as the original calls it (trace, fatal).

    @raise ValueError: if there is no such level.
    """
    name = name.strip().lower()
    number = LEVELS.get(_ALIASES.get(name, name))
    if number is None:
        raise ValueError(f"unknown log level {name!r}; use debug, info, warn, error or critical")
    return number


@attrs.frozen
class Levels:
    """
    The least level that is written, for all and for single parts.

    @ivar least: for whatever is not named in C{parts}.
    @ivar parts: by the name of a part; C{http} means C{http.openai.chat} too, and the longest name counts.
    """

    least: int = LEVELS["info"]
    parts: Mapping[str, int] = attrs.field(factory=dict)
    _known: dict[str, int] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Levels:
        """
        Read C{info} or C{info,http=debug,providers=warn}.

        @raise ValueError: with a text that says what is wrong.
        """
        least, parts = LEVELS["info"], {}
        for item in text.split(","):
            part, is_part, level = item.strip().rpartition("=")
            if not is_part:
                least = level_number(level)
            elif _SUBSYSTEM.fullmatch(part.strip()):
                parts[part.strip().replace("/", ".").removeprefix("openclaw.")] = level_number(level)
            else:
                raise ValueError(f"{part!r} is no part of the gateway; write info,http=debug")
        return cls(least, parts)

    def admits(self, subsystem: str, level: str) -> bool:
        """
        Whether what a part tells is written.

        @param subsystem: its module, without the package's name.
        """
        least = self._known.get(subsystem)
        if least is None:
            least = self._known[subsystem] = self._least_of(subsystem)
        return LEVELS[level] >= least

    @property
    def admits_debug(self) -> bool:
        """Whether any part may write lines of debugging."""
        return min((self.least, *self.parts.values())) <= LEVELS["debug"]

    def _least_of(self, subsystem: str) -> int:
        name = subsystem
        while name:
            if name in self.parts:
                return self.parts[name]
            name = name.rpartition(".")[0]
        if self.least > LEVELS["debug"]:
            for quiet, least in _QUIET:
                if subsystem == quiet or subsystem.startswith(f"{quiet}."):
                    return max(least, self.least)
        return self.least


class Debugging:
    """
    Whether lines of debugging are written anywhere: those that come with each request are not made else.

    @ivar is_on: true also as long as it is not known of both the console and the files.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, bool] = {}
        self.is_on = True

    def tell(self, where: Literal["console", "files"], wanted: bool | None) -> None:
        """Say whether they are wanted somewhere; C{None} when that is not known any more."""
        self._wanted.pop(where, None)
        if wanted is not None:
            self._wanted[where] = wanted
        self.is_on = len(self._wanted) < 2 or any(self._wanted.values())


debugging = Debugging()
"""That of this process."""
