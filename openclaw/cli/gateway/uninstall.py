"""C{openclaw gateway uninstall}: remove the service of systemd."""

from __future__ import annotations

import click

from openclaw.cli.gateway.systemd import ServiceReport, installed, system_option
from openclaw.cli.output import State, json_option
from openclaw.errors import StartError


@click.command()
@system_option
@json_option
@click.pass_obj
def uninstall(state: State, system: bool | None, as_json: bool) -> None:
    """Stop the service and remove its units; configuration and state stay."""
    service = installed(state, system)
    service.systemctl("disable", "--now", *service.units)
    for path in (service.path, service.socket_path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StartError(f"cannot remove {path}: {error.strerror or error}") from None
    service.systemctl("daemon-reload")
    ServiceReport("uninstall", service, as_json).done("uninstalled", f"{service.path} is removed")
