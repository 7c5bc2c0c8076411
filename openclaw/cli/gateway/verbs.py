"""C{openclaw gateway start}, C{stop} and C{restart}, which are one command with another verb of systemd each."""

from __future__ import annotations

import click

from openclaw.cli.gateway.systemd import installed, system_option, tell
from openclaw.cli.output import State, json_option


def _verb(verb: str, result: str, text: str) -> click.Command:
    """A command that has systemd do one thing with the service."""

    @click.command(verb, help=text)
    @system_option
    @json_option
    @click.pass_obj
    def command(state: State, system: bool | None) -> None:
        service = installed(state, system)
        # A socket that is left open at a stop would start the service again at once; at a restart it keeps who comes
        # meanwhile waiting.
        service.systemctl(verb, *([service.path.name] if verb == "restart" else service.units))
        tell(state, verb, service, result, f"{service.name} is {result}", hints=[])

    return command


start = _verb("start", "started", "Start the service.")
stop = _verb("stop", "stopped", "Stop the service; its runs have gateway.shutdownDrainMs to finish.")
restart = _verb("restart", "restarted", "Restart the service; its runs have gateway.shutdownDrainMs to finish.")
