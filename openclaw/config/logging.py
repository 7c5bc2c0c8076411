"""The section C{logging}: what is logged, where, and what is masked in it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

import attrs

from openclaw.config.checks import Between, taken_by
from openclaw.config.gateway import Problem
from openclaw.log_files import MAX_FILE_BYTES
from openclaw.log_levels import Levels
from openclaw.redact import MAX_PATTERNS, compile_pattern

LevelText = Annotated[str, taken_by(Levels.parse)]
"""A level of the log, or levels of parts: C{info,http=debug}."""


@attrs.frozen
class LoggingConfig:
    """
    C{logging}.

    C{OPENCLAW_LOG_LEVEL} and C{--log-level} take the place of both levels.

    @ivar level: least level that is written to the files, which parts may differ from: C{info,http=debug}.
    @ivar console_level: least level that is written to standard error; without it that of the files.
    @ivar console_style: how lines on standard error look; C{compact} is short and without colour.
    @ivar max_file_bytes: size at which a file is closed and the next begun, in bytes.
    @ivar redact_patterns: regular expressions, bare or as C{/expression/flags}, whose last group (all of the match if
        there is none) is masked in every line.
    """

    level: LevelText = "info"
    console_level: LevelText | None = None
    console_style: Literal["pretty", "compact", "json"] = "pretty"
    max_file_bytes: Annotated[int, Between(64 * 1024, 10 * 1024**3)] = MAX_FILE_BYTES
    redact_patterns: tuple[Annotated[str, taken_by(compile_pattern)], ...] = ()

    @property
    def level_on_console(self) -> str:
        """The level for standard error."""
        return self.console_level if self.console_level is not None else self.level

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The patterns, compiled."""
        return tuple(compile_pattern(text) for text in self.redact_patterns)

    def settled(self, problem: Problem) -> Self:
        """Check how many patterns there are."""
        if len(self.redact_patterns) > MAX_PATTERNS:
            problem(("redactPatterns",), f"must have at most {MAX_PATTERNS} patterns")
        return self
