"""C{openclaw gateway uninstall}: stop the service and remove its units."""

from __future__ import annotations

import click

from openclaw.cli.gateway.systemd import installed, system_option, tell
from openclaw.cli.output import State, json_option
from openclaw.errors import StartError


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
