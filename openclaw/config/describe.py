"""How an error of the start is told to the person at the terminal, by every program that starts something."""

from __future__ import annotations

from openclaw.errors import EXIT_CONFIG, ConfigError, OpenClawError, StartError


def describe(error: OpenClawError) -> str:
    """An error as the lines that a person reads: one, or one more for each problem of a configuration."""
    if isinstance(error, ConfigError):
        where = f" {error.path}" if error.path else ""
        return "\n".join([f"openclaw: the configuration{where} cannot be used:", *(f"  {p}" for p in error.problems)])
    return f"openclaw: {error.message}"


def exit_status(error: OpenClawError) -> int:
    """
    The exit status of a process that ends by an error.

    A configuration that cannot be used gives 78 (C{EX_CONFIG}), as a supervisor that started the same again would
    only meet the same.
    """
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    return error.exit_code if isinstance(error, StartError) else 1
