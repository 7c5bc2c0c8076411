"""C{openclaw gateway start}, C{stop}, C{restart} and C{uninstall}: what systemd does with the service."""

from __future__ import annotations

import click

from openclaw.cli.gateway.systemd import installed, system_option, tell
from openclaw.cli.output import State, json_option
from openclaw.errors import StartError


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


@click.command()
@system_option
@json_option
@click.pass_obj
def uninstall(state: State, system: bool | None) -> None:
    """Stop the service and remove its units; configuration and state stay."""
    service = installed(state, system)
    service.systemctl("disable", "--now", *service.units)
    for path in (service.path, service.socket_path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StartError(f"cannot remove {path}: {error.strerror or error}") from None
    service.systemctl("daemon-reload")
    tell(state, "uninstall", service, "uninstalled", f"{service.path} is removed", hints=[])
