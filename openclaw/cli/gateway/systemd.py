"""The service of systemd that a gateway is installed as, and what commands print about it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from openclaw.cli.gateway.unit_file import named_profile, unit_name
from openclaw.cli.output import State
from openclaw.config.lock import running_pid
from openclaw.errors import StartError

SYSTEMCTL_DEADLINE_S = 120.0
"""How long systemd may take, in seconds: a stop waits for the runs."""

SYSTEM_FOLDER = Path("/etc/systemd/system")

_NO_SYSTEMD = "run the gateway under a supervisor of your own, by: openclaw gateway run"

system_option = click.option(
    "--system/--user", default=None, help="The machine's service manager, or this user's (the default)."
)
"""Whose service manager it is; C{None} for whichever has the service."""


@attrs.frozen
class Service:
    """One installed service, or one to be, with the folder of its unit files."""

    name: str
    system: bool
    folder: Path

    @property
    def path(self) -> Path:
        """Its unit file."""
        return self.folder / f"{self.name}.service"

    @property
    def socket_path(self) -> Path:
        """The unit file of its socket, where it has one."""
        return self.folder / f"{self.name}.socket"

    @property
    def units(self) -> list[str]:
        """The names of its units, the one that starts the other first."""
        sockets = [self.socket_path.name] if self.socket_path.exists() else []
        return [*sockets, self.path.name]

    def systemctl(self, *arguments: str) -> None:
        """Have systemd do something; a L{StartError} if it is not there, cannot be reached, or refuses.  Blocks."""
        program = shutil.which("systemctl")
        if program is None:
            raise StartError(f"there is no systemctl on this machine; {_NO_SYSTEMD}")
        command = [program, *([] if self.system else ["--user"]), "--no-ask-password", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_DEADLINE_S, check=False)
        except subprocess.TimeoutExpired:
            raise StartError(f"systemd did not finish {arguments[0]} within {SYSTEMCTL_DEADLINE_S:g} s") from None
        except OSError as error:
            raise StartError(f"cannot run {program}: {error.strerror or error}") from None
        if done.returncode != 0:
            raise StartError(self._reason(arguments[0], done.stderr or done.stdout))

    def _reason(self, verb: str, told: str) -> str:
        lines = [line.strip() for line in told.splitlines() if line.strip()] or ["it gives no reason"]
        if "connect to bus" in told or "not been booted with systemd" in told:
            hint = _NO_SYSTEMD if self.system else f"log in as this user, use --system, or {_NO_SYSTEMD}"
            return f"systemd cannot be reached: {lines[0]}; {hint}"
        option = "" if self.system else "--user "
        return f"systemctl {option}{verb} failed: {lines[0]}; see: journalctl {option}-u {self.name}"


def service_of(name: str, *, system: bool) -> Service:
    """The service of a name, installed or not."""
    return Service(name, system, SYSTEM_FOLDER if system else _user_folder())


def services_of(profile: str | None, environ: Mapping[str, str]) -> list[Service]:
    """The services that the gateway of a C{--profile} may be installed as: the user's, and the machine's."""
    name = unit_name(named_profile(profile, environ))
    return [service_of(name, system=system) for system in (False, True)]


def _user_folder() -> Path:
    given = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if given.startswith("/") else Path(os.environ.get("HOME") or "~").expanduser() / ".config"
    return base / "systemd" / "user"


def installed(state: State, system: bool | None) -> Service:
    """The installed service, the user's own unless told otherwise; a L{StartError} if there is none."""
    places = [one for one in services_of(state.profile, os.environ) if system is None or one.system == system]
    for service in places:
        if service.path.exists():
            return service
    problem = f"there is no {places[0].path}; install it with: openclaw gateway install"
    pid = running_pid(state.paths.lock_path)
    if pid is not None:
        problem += (
            f"; the gateway that runs was started otherwise: end it with Ctrl-C{f' or kill {pid}' if pid else ''}"
        )
    raise StartError(problem)


def tell(state: State, action: str, service: Service, result: str, text: str, **fields: Any) -> None:
    """Tell what an action came to, a person by the text."""
    told = {"ok": True, "action": action, "result": result, "unit": service.path.name, "path": str(service.path)}
    state.show({**told, **fields}, text)
