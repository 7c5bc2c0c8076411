"""
Groups of commands whose modules are imported when a command is used.

For the same reason some commands import in their functions what only they need and what is slow to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

CommandTable = Mapping[str, tuple[str, str, str]]
"""Name of each command: its module, its object there, its help in one line."""


class LazyGroup(click.Group):
    """
    A group whose commands are imported when they are used, so that its help costs next to nothing and one command
    does not import what another needs.

    @param commands_at: the commands that are imported; those that are added to the group itself are there besides.
    """

    def __init__(self, *arguments: Any, commands_at: CommandTable, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self.commands_at})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands_at:
            return super().get_command(ctx, cmd_name)
        module, name, _ = self.commands_at[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click; of a command that is not there it tells which one may be meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            meant = self._meant(ctx, name)
            ctx.fail(f"No such command {name!r}" + ("." if meant is None else f"; did you mean {meant}?"))
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, name: str) -> str | None:
        """What somebody may have meant who typed what is no command."""
        from difflib import get_close_matches  # only who mistypes pays for it

        if name.lower() == "help":
            return f"{ctx.command_path} --help"
        close = get_close_matches(name.lower(), self.list_commands(ctx), n=1)
        return close[0] if close else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(name)) for name in self.list_commands(ctx)])

    def _summary(self, name: str) -> str:
        if name in self.commands_at:
            return self.commands_at[name][2]
        return self.commands[name].get_short_help_str(limit=100)


def lazy_group(package: str, text: str, commands: Mapping[str, tuple[str, str]]) -> LazyGroup:
    """A group that does nothing itself; each command is in a module of its name in a package, which names the group."""
    at = {name: (f"{package}.{name}", found, line) for name, (found, line) in commands.items()}
    return LazyGroup(package.rpartition(".")[2], help=text, commands_at=at)
