"""C{openclaw gateway install}, C{uninstall}, C{start}, C{stop} and C{restart}: the gateway as a service of systemd."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from openclaw.cli.gateway.unit_file import Unit, install_command, named_profile, passed_endpoint, unit_name
from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import StartError

if TYPE_CHECKING:
    from openclaw.config.paths import Paths

SYSTEMCTL_DEADLINE_S = 120.0
"""How long systemd may take, in seconds: a stop waits for the runs."""

SYSTEM_FOLDER = Path("/etc/systemd/system")

_NO_SYSTEMD = "run the gateway under a supervisor of your own, by: openclaw gateway run"

_PASSED_ON = ("OPENCLAW_HOME", "PYTHONPATH")
"""What of this process's environment the service needs too, besides the places that were found with it."""


@attrs.frozen
class Service:
    """
    One installed service, or one to be.

    @ivar folder: where its unit files are.
    """

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
        """
        Have systemd do something.  Blocks.

        @raise StartError: if there is no systemd, it cannot be reached, or it refuses.
        """
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


def _user_folder() -> Path:
    given = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if given.startswith("/") else Path(os.environ.get("HOME") or "~").expanduser() / ".config"
    return base / "systemd" / "user"


def _installed(state: State, system: bool | None) -> Service:
    """
    The installed service: the user's own unless told otherwise.

    @raise StartError: if there is none.
    """
    from openclaw.config.lock import running_pid

    name = unit_name(named_profile(state.profile, os.environ))
    places = [service_of(name, system=at) for at in ((False, True) if system is None else (system,))]
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


_system_option = click.option(
    "--system/--user", default=None, help="The machine's service manager, or this user's (the default)."
)


# ------------------------------------------------------------------------------------------ install


@attrs.frozen
class _Wish:
    """What C{install} was asked for."""

    system: bool
    port: int | None
    socket: bool
    run_as: str | None


def _account(wish: _Wish) -> pwd.struct_passwd | None:
    """
    Who a system unit is to run as; C{None} for a user unit.

    @raise StartError: if nobody, or root, is named.
    """
    if not wish.system:
        return None
    name = wish.run_as or os.environ.get("SUDO_USER", "") or pwd.getpwuid(os.getuid()).pw_name
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise StartError(f"--run-as: there is no user {name!r}") from None
    if account.pw_uid == 0:
        raise StartError("the gateway does not run as root: name its user with --run-as")
    return account


def _paths(state: State, account: pwd.struct_passwd | None) -> tuple[Paths, Mapping[str, str]]:
    """Where the service finds its files, and its environment."""
    from openclaw.config.paths import resolve_paths

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


def _make_unit(state: State, wish: _Wish) -> Unit:
    """
    Decide what is in the unit; checks that a gateway could start with it.

    @raise OpenClawError: if it could not: a service has nothing of this shell's environment.
    """
    from openclaw.config.plan import Options, plan

    account = _account(wish)
    paths, environ = _paths(state, account)
    home = account.pw_dir if account is not None else os.environ.get("HOME", "")
    try:
        planned = plan(paths, {**environ, "HOME": home}, Options(port=wish.port))
        arguments = ["gateway", "run"]
        listen = None
        if wish.socket:
            host = planned.listening.host or "127.0.0.1"
            listen = f"[{host}]:{planned.listening.port}" if ":" in host else f"{host}:{planned.listening.port}"
            arguments += ["--endpoint", passed_endpoint(host)]
            plan(paths, {**environ, "HOME": home}, Options(endpoint=arguments[-1]))
        elif wish.port is not None:
            arguments += ["--port", str(wish.port)]
    except StartError as error:
        where = f"{paths.config_path} or {paths.state_dir / '.env'}"
        hint = f"; a service has no variables of this shell, so it has to stand in {where}"
        if error.message.startswith("no credential"):
            raise StartError(error.message + hint, error.exit_code) from None
        raise
    if not paths.state_dir.is_dir():
        raise StartError(f"there is no state folder {paths.state_dir}; make it first: openclaw onboard")
    profile = named_profile(state.profile, os.environ)
    return Unit(
        unit_name(profile),
        wish.system,
        account.pw_name if account is not None else "",
        # Not resolved: the interpreter of a virtual environment is a link, and finds its packages by its own name.
        sys.executable,
        tuple(arguments),
        environ,
        paths.state_dir,
        profile,
        planned.config.gateway.shutdown_drain_ms / 1000,
        listen,
    )


def _write(path: Path, text: str) -> None:
    """
    Write a unit file, whole or not at all.

    @raise StartError: if that fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(fresh).chmod(0o644)
            Path(fresh).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(fresh).unlink()
            raise
    except OSError as error:
        hint = "; a system unit needs root: use sudo" if isinstance(error, PermissionError) else ""
        raise StartError(f"cannot write {path}: {error.strerror or error}{hint}") from None


def _present(path: Path) -> str | None:
    """
    What is in a unit file; C{None} if there is none.

    @raise StartError: if it is no file that we may replace.
    """
    if path.is_symlink():
        raise StartError(f"{path} is a link (a masked unit?); remove it first")
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read {path}: {error}") from None


@click.command()
@_system_option
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port.")
@click.option("--socket", is_flag=True, help="Let systemd open the port and start the gateway at the first client.")
@click.option("--run-as", metavar="USER", help="Who a system unit runs as; the caller of sudo by default.")
@click.option("--dry-run", is_flag=True, help="Print the units and write nothing.")
@click.option("--force", is_flag=True, help="Replace a unit that is different.")
@click.option("--no-enable", is_flag=True, help="Only write the files; do not ask systemd for anything.")
@click.option("--now", is_flag=True, help="Start the service at once.")
@json_option
@click.pass_obj
def install(
    state: State,
    system: bool | None,
    port: int | None,
    socket: bool,
    run_as: str | None,
    dry_run: bool,
    force: bool,
    no_enable: bool,
    now: bool,
    as_json: bool,
) -> None:
    """Install the gateway as a service of systemd, which starts it at login or at boot."""
    if run_as is not None and not system:
        raise click.UsageError("--run-as goes with --system: a user's service runs as that user")
    if now and no_enable:
        raise click.UsageError("--now needs systemd, which --no-enable leaves alone: give one or the other")
    unit = _make_unit(state, _Wish(bool(system), port, socket, run_as))
    service = service_of(unit.name, system=unit.system)
    texts = {service.path: unit.service_text()}
    if socket:
        texts[service.socket_path] = unit.socket_text()
    told = _Told("install", service, as_json)
    if dry_run:
        told.texts(texts)
        return
    before = {path: _present(path) for path in (service.path, service.socket_path)}
    again = install_command(system=unit.system, port=port, socket=socket, run_as=run_as)
    changed = _write_all(service, texts, before, again=None if force else again, tells_systemd=not no_enable)
    if not no_enable:
        # systemd goes on to listen where a socket's file had it until the socket is restarted, too
        is_moved = socket and before[service.socket_path] not in (None, texts[service.socket_path])
        _enable(service, now=now, is_moved=is_moved)
        if not now:
            told.hints.append(state.advice(_begin_hint(changed=changed, is_moved=is_moved)))
        if not unit.system:
            told.hints.append("to have it run without a login: loginctl enable-linger")
    told.done("installed" if changed else "unchanged", f"{service.path} {'is written' if changed else 'is up to date'}")


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


class _Told:
    """What a command prints at its end."""

    def __init__(self, action: str, service: Service, as_json: bool) -> None:
        self.hints: list[str] = []
        self._action = action
        self._service = service
        self._as_json = as_json

    def done(self, result: str, text: str) -> None:
        """The command has done its work."""
        if self._as_json:
            self._print(result, hints=self.hints)
        else:
            click.echo("\n".join([text, *self.hints]))

    def texts(self, texts: Mapping[Path, str]) -> None:
        """What would be written."""
        if self._as_json:
            self._print("dry-run", files={str(path): text for path, text in texts.items()})
        else:
            click.echo("\n".join(f"# {path}\n{text}" for path, text in texts.items()), nl=False)

    def _print(self, result: str, **fields: Any) -> None:
        service = self._service
        common = {"ok": True, "action": self._action, "result": result}
        print_json({**common, "unit": service.path.name, "path": str(service.path), **fields})


# ------------------------------------------------------------------------------------------ the others


@click.command()
@_system_option
@json_option
@click.pass_obj
def uninstall(state: State, system: bool | None, as_json: bool) -> None:
    """Stop the service and remove its units; configuration and state stay."""
    service = _installed(state, system)
    service.systemctl("disable", "--now", *service.units)
    for path in (service.path, service.socket_path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StartError(f"cannot remove {path}: {error.strerror or error}") from None
    service.systemctl("daemon-reload")
    _Told("uninstall", service, as_json).done("uninstalled", f"{service.path} is removed")


def _verb(verb: str, result: str, text: str) -> click.Command:
    """A command that has systemd do one thing with the service."""

    @click.command(verb, help=text)
    @_system_option
    @json_option
    @click.pass_obj
    def command(state: State, system: bool | None, as_json: bool) -> None:
        service = _installed(state, system)
        # A socket that is left open at a stop would start the service again at once; at a restart it keeps who comes
        # meanwhile waiting.
        service.systemctl(verb, *([service.path.name] if verb == "restart" else service.units))
        _Told(verb, service, as_json).done(result, f"{service.name} is {result}")

    return command


start = _verb("start", "started", "Start the service.")
stop = _verb("stop", "stopped", "Stop the service; its runs have gateway.shutdownDrainMs to finish.")
restart = _verb("restart", "restarted", "Restart the service; its runs have gateway.shutdownDrainMs to finish.")
