"""C{openclaw gateway install}: the gateway as a service of systemd."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from openclaw.cli.files import whole_file
from openclaw.cli.gateway.systemd import Service, service_of, system_option, tell
from openclaw.cli.gateway.unit_file import Program, Unit, UnitOptions, named_profile, passed_endpoint, unit_name
from openclaw.cli.options import gathered
from openclaw.cli.output import State, json_option
from openclaw.config.paths import Paths, resolve_paths
from openclaw.errors import StartError

_PASSED_ON = ("OPENCLAW_HOME", "PYTHONPATH")
"""What of this process's environment the service needs too, besides the places that were found with it."""


@click.command()
@system_option
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port.")
@click.option("--socket", is_flag=True, help="Let systemd open the port and start the gateway at the first client.")
@click.option("--run-as", metavar="USER", help="Who a system unit runs as; the caller of sudo by default.")
@gathered("wanted", UnitOptions)
@click.option("--dry-run", is_flag=True, help="Print the units and write nothing.")
@click.option("--force", is_flag=True, help="Replace a unit that is different.")
@click.option("--no-enable", is_flag=True, help="Only write the files; do not ask systemd for anything.")
@click.option("--now", is_flag=True, help="Start the service at once.")
@json_option
@click.pass_obj
def install(state: State, wanted: UnitOptions, dry_run: bool, force: bool, no_enable: bool, now: bool) -> None:
    """Install the gateway as a service of systemd, which starts it at login or at boot."""
    if wanted.run_as is not None and not wanted.system:
        raise click.UsageError("--run-as goes with --system: a user's service runs as that user")
    if now and no_enable:
        raise click.UsageError("--now needs systemd, which --no-enable leaves alone: give one or the other")
    unit = _make_unit(state, wanted)
    service = service_of(unit.name, system=unit.system)
    texts = {service.path: unit.service_text()}
    if wanted.socket:
        texts[service.socket_path] = unit.socket_text()
    if dry_run:
        files = {str(path): text for path, text in texts.items()}
        shown = "\n".join(f"# {path}\n{text}" for path, text in files.items())
        tell(state, "install", service, "dry-run", shown.removesuffix("\n"), files=files)
        return
    before = {path: _present(path) for path in (service.path, service.socket_path)}
    again = None if force else wanted.command()
    hints = []
    changed = _write_all(service, texts, before, again=again, tells_systemd=not no_enable)
    if not no_enable:
        # systemd goes on to listen where a socket's file had it until the socket is restarted, too
        is_moved = wanted.socket and before[service.socket_path] not in (None, texts[service.socket_path])
        _enable(service, now=now, is_moved=is_moved)
        if not now:
            hints.append(state.advice(_begin_hint(changed=changed, is_moved=is_moved)))
        if not unit.system:
            hints.append("to have it run without a login: loginctl enable-linger")
    text = f"{service.path} {'is written' if changed else 'is up to date'}"
    tell(state, "install", service, "installed" if changed else "unchanged", "\n".join([text, *hints]), hints=hints)


def _begin_hint(*, changed: bool, is_moved: bool) -> str:
    if is_moved:
        return "the socket is another one; begin anew with: openclaw gateway stop, then openclaw gateway start"
    verb = "restart" if changed else "start"
    return f"{verb} it with: openclaw gateway {verb}"


def _write_all(
    service: Service,
    texts: Mapping[Path, str],
    present: Mapping[Path, str | None],
    *,
    again: str | None,
    tells_systemd: bool,
) -> bool:
    """
    Write the units that are not there yet; a socket that is no longer wanted is closed and removed.

    @param present: what is in their files now.
    @param again: the command that replaces what is different; C{None} if this is it.
    @return: whether anything was written.
    @raise StartError: if one is different and is not to be replaced.
    """
    for path, text in present.items():
        if text is not None and text != texts.get(path) and again is not None:
            raise StartError(f"{path} is there and different; replace it with: {again}")
    changed = False
    for path, text in present.items():
        wanted = texts.get(path)
        if wanted is None and text is not None:
            if tells_systemd:
                # systemd goes on to hold the port of a socket whose file is gone
                service.systemctl("disable", "--now", path.name)
            path.unlink()
            changed = True
        elif wanted is not None and wanted != text:
            _write(path, wanted)
            changed = True
    return changed


def _enable(service: Service, *, now: bool, is_moved: bool) -> None:
    """
    Tell systemd of new units.

    @param is_moved: its socket listens elsewhere from now on.
    @raise StartError: if it cannot be reached; the files stay.
    """
    try:
        service.systemctl("daemon-reload")
        service.systemctl("enable", *service.units)
        if now:
            service.systemctl("restart", *(service.units if is_moved else [service.path.name]))
    except StartError as error:
        raise StartError(f"{service.path} is written, but not enabled: {error.message} (or give --no-enable)") from None


def _account(wanted: UnitOptions) -> pwd.struct_passwd | None:
    """Who a system unit is to run as; C{None} for a user unit, a L{StartError} for root or somebody unknown."""
    if not wanted.system:
        return None
    name = wanted.run_as or os.environ.get("SUDO_USER", "") or pwd.getpwuid(os.getuid()).pw_name
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise StartError(f"--run-as: there is no user {name!r}") from None
    if account.pw_uid == 0:
        raise StartError("the gateway does not run as root: name its user with --run-as")
    return account


def _paths(state: State, account: pwd.struct_passwd | None) -> tuple[Paths, Mapping[str, str]]:
    """Where the service finds its files, and its environment."""
    here = {**os.environ, **({"HOME": account.pw_dir} if account is not None else {})}
    paths = resolve_paths(here, state.profile)
    environ = {
        "OPENCLAW_STATE_DIR": str(paths.state_dir),
        "OPENCLAW_CONFIG_PATH": str(paths.config_path),
        **{name: here[name] for name in _PASSED_ON if here.get(name)},
    }
    if environ.get("PYTHONPATH"):
        # the service works in its state folder, where a relative place would mean something else
        places = environ["PYTHONPATH"].split(os.pathsep)
        environ["PYTHONPATH"] = os.pathsep.join(str(Path(place).absolute()) for place in places if place)
    if profile := named_profile(state.profile, os.environ):
        environ["OPENCLAW_PROFILE"] = profile
    return paths, environ


def _make_unit(state: State, wanted: UnitOptions) -> Unit:
    """
    Decide what is in the unit; checks that a gateway could start with it.

    @raise OpenClawError: if it could not: a service has nothing of this shell's environment.
    """
    from openclaw.config.plan import Options, plan

    account = _account(wanted)
    paths, environ = _paths(state, account)
    home = account.pw_dir if account is not None else os.environ.get("HOME", "")
    try:
        planned = plan(paths, {**environ, "HOME": home}, Options(port=wanted.port))
        arguments = ["gateway", "run"]
        listen = None
        if wanted.socket:
            host = planned.listening.host or "127.0.0.1"
            listen = f"[{host}]:{planned.listening.port}" if ":" in host else f"{host}:{planned.listening.port}"
            arguments += ["--endpoint", passed_endpoint(host)]
            plan(paths, {**environ, "HOME": home}, Options(endpoint=arguments[-1]))
        elif wanted.port is not None:
            arguments += ["--port", str(wanted.port)]
    except StartError as error:
        where = f"{paths.config_path} or {paths.state_dir / '.env'}"
        hint = f"; a service has no variables of this shell, so it has to stand in {where}"
        if error.message.startswith("no credential"):
            raise StartError(error.message + hint, error.exit_code) from None
        raise
    if not paths.state_dir.is_dir():
        raise StartError(f"there is no state folder {paths.state_dir}; make it first: openclaw onboard")
    profile = named_profile(state.profile, os.environ)
    # Not resolved: the interpreter of a virtual environment is a link, and finds its packages by its own name.
    program = Program(sys.executable, tuple(arguments), environ, paths.state_dir)
    drain_s = planned.config.gateway.shutdown_drain_ms / 1000
    return Unit(unit_name(profile), profile, program, drain_s, account.pw_name if account is not None else None, listen)


def _write(path: Path, text: str) -> None:
    """Write a unit file, whole or not at all; a L{StartError} if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, replaces=True) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text.encode())
    except OSError as error:
        hint = "; a system unit needs root: use sudo" if isinstance(error, PermissionError) else ""
        raise StartError(f"cannot write {path}: {error.strerror or error}{hint}") from None


def _present(path: Path) -> str | None:
    """What is in a unit file; C{None} if there is none, a L{StartError} if it is no file that we may replace."""
    if path.is_symlink():
        raise StartError(f"{path} is a link (a masked unit?); remove it first")
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read {path}: {error}") from None
