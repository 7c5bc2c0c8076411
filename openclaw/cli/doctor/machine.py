"""What C{openclaw doctor} looks for on the machine: files, the store, the port, the service."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openclaw.cli.doctor.checks import (
    Check,
    Finding,
    Surroundings,
    agents_models,
    bind,
    config_valid,
    credential,
    embedded_model,
    make_credential,
    plaintext_secrets,
    providers,
    real,
    unused_settings,
    variables_set,
)
from openclaw.config.auth_mode import listen_port
from openclaw.config.listen import listening_of
from openclaw.config.lock import running_pid
from openclaw.errors import OpenClawError, StartError

LOW_DISK_BYTES = 256 * 1024 * 1024
"""Less free space than this is worth a warning."""

FULL_DISK_BYTES = 4 * 1024 * 1024
"""With less free space than this the gateway cannot work."""

OLDEST_SQLITE = (3, 37, 0)
"""The oldest SQLite that the store is tested with."""

_EARLIEST_S = 1_735_689_600
"""A clock before 2025 is wrong: this program is younger."""

_TIMEOUT_S = 2.0


def _private(at: Surroundings) -> list[tuple[Path, int, os.stat_result]]:
    """The files and folders that are there and nobody's but the owner's, with the mode that they should have."""
    found: list[tuple[Path, int, os.stat_result]] = []
    paths, dotenv = at.paths, at.paths.state_dir / ".env"
    files = []
    for config in dict.fromkeys((paths.config_path, real(paths.config_path))):
        # the copies are beside the file itself; beside a link are those of the time before it was one
        files += [config, *config.parent.glob(f"{config.name}.bak*"), *config.parent.glob(f"{config.name}.rejected.*")]
    files += [real(dotenv), *paths.state_dir.glob(f"{paths.store_path.name}*")]
    folders = ((folder, 0o700) for folder in (paths.state_dir, paths.log_dir))
    for path, mode in (*folders, *((file, 0o600) for file in files)):
        with suppress(OSError):  # it is gone, or in a folder that is closed to us, which another check tells
            status = path.lstat()
            is_right = stat.S_ISDIR if mode == 0o700 else stat.S_ISREG  # and no link: what it leads to is here, too
            if is_right(status.st_mode):
                found.append((path, mode, status))
    return found


def modes(at: Surroundings) -> Iterator[Finding]:
    """Other users cannot read what is private."""
    for path, mode, found in _private(at):
        if found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode):
            hint = "set OPENCLAW_STATE_DIR to a folder of your own"
            yield Finding("warning", f"{path} is a folder of all users", hint, str(path))
        elif found.st_mode & 0o077:
            yield Finding(
                "warning", f"other users can use {path}", f"chmod {mode:o} {shlex.quote(str(path))}", str(path)
            )


def repair_modes(at: Surroundings) -> Iterator[str]:
    """
    Take the rights of others away, but not of a folder that is everybody's, such as C{/tmp}, nor of a file that the
    state folder's owner, who runs the gateway, may have by these rights only.
    """
    for path, mode, status in _private(at):
        found = stat.S_IMODE(status.st_mode)
        is_shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if found & 0o077 and not is_shared and status.st_uid == _gateway_user(at, status):
            path.chmod(found & mode)
            yield f"{path}: mode {found:o} is now {found & mode:o}"


def _gateway_user(at: Surroundings, otherwise: os.stat_result) -> int:
    """Who runs the gateway: the owner of the state folder, where there is one."""
    folder = at.paths.state_dir
    return (folder.stat() if folder.is_dir() else otherwise).st_uid


def state_folder(at: Surroundings) -> Iterator[Finding]:
    """The state folder is there, can be written, and its disk has space."""
    folder = at.paths.state_dir
    if not folder.exists():
        yield Finding("info", f"there is no state folder {folder} yet", "openclaw doctor --fix", str(folder))
        return
    if not folder.is_dir():
        yield Finding("error", f"{folder} is not a folder", "set OPENCLAW_STATE_DIR", str(folder))
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        hint = f"chown it to this user: sudo chown -R $(id -un) {shlex.quote(str(folder))}"
        yield Finding("error", f"{folder} cannot be written by this user", hint, str(folder))
    free = shutil.disk_usage(folder).free
    if free < LOW_DISK_BYTES:
        message = f"the disk of {folder} has {free / 1e6:.0f} MB left"
        yield Finding(
            "error" if free < FULL_DISK_BYTES else "warning",
            message,
            f"free some space: du -sh {shlex.quote(str(folder))}/*",
        )


def repair_state_folder(at: Surroundings) -> Iterator[str]:
    """Make the folder."""
    from openclaw.config.paths import ensure_state_dir

    if not at.paths.state_dir.exists():
        ensure_state_dir(at.paths)
        yield f"made {at.paths.state_dir}"


def store(at: Surroundings) -> Iterator[Finding]:
    """The store is ours, whole, and of a version that we know."""
    from openclaw.cli.backup.store_files import look_at_store

    path = at.paths.store_path
    if not os.path.lexists(path):
        return
    restore = f"stop the gateway and restore a copy: openclaw backup restore FILE --force (keeps {path} aside)"
    try:
        found = look_at_store(path, thorough=False)
    except OpenClawError as error:
        yield Finding("error", error.message, restore, str(path))
        return
    if found.version > found.newest:
        message = f"{path} was written by a newer version (schema {found.version}; this one knows {found.newest})"
        yield Finding("error", message, "pip install --upgrade openclaw", str(path))
    elif found.version < found.newest:
        message = f"{path} has the schema {found.version}; the next start brings it to {found.newest} and keeps a copy"
        yield Finding("info", message, _restart(at), str(path))


def port(at: Surroundings) -> Iterator[Finding]:
    """The port is free, or our own gateway has it."""
    assert at.loaded is not None
    key = "gateway.port"
    try:
        listening = listening_of(at.config, listen_port(at.config, at.loaded.environ))
    except StartError as error:
        yield Finding("error", error.message, "unset OPENCLAW_GATEWAY_PORT, or correct it", key)
        return
    if running_pid(at.paths.lock_path) is not None or listening.host is None:
        return
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listening.host, listening.port))
            probe.listen(1)
        except OSError as error:
            other = min(listening.port + 1, 65535)
            message = f"port {listening.port} at {listening.host} cannot be used: {error.strerror}"
            hint = f"see who has it: ss -ltnp 'sport = :{listening.port}'; or: openclaw config set gateway.port {other}"
            yield Finding("error", message, hint, key)


def gateway_ready(at: Surroundings) -> Iterator[Finding]:
    """A gateway that runs takes requests, and began with the configuration that is there now."""
    import http.client

    from openclaw.cli.talk.health import fetch

    assert at.loaded is not None
    pid = running_pid(at.paths.lock_path)
    if pid is None:
        return
    url = listening_of(at.config, listen_port(at.config, at.loaded.environ)).url()
    try:
        ready = fetch(f"{url}/readyz", _TIMEOUT_S)
    except (OSError, ValueError, http.client.HTTPException, OpenClawError) as error:
        reason = getattr(error, "reason", error)
        message = f"a gateway runs (pid {pid or 'unknown'}) and does not answer at {url}: {reason}"
        yield Finding("warning", message, f"was its port changed? {_restart(at)}", "gateway.port")
        return
    failing = ", ".join(map(str, ready.get("failing") or ()))
    if failing:
        yield Finding("warning", f"the gateway at {url} is not ready: {failing}", "openclaw logs --limit 50")
    uptime_ms = ready.get("uptimeMs")
    if isinstance(uptime_ms, int | float) and at.loaded.exists:
        began_s = time.time() - uptime_ms / 1000
        if at.paths.config_path.stat().st_mtime > began_s:
            message = "the configuration was changed after the gateway had started; some changes may wait for a restart"
            yield Finding("info", message, _restart(at), str(at.paths.config_path))


def _units(at: Surroundings) -> list[tuple[Path, bool]]:
    """Where the unit file would be, of the user and of the system."""
    from openclaw.cli.gateway.service_unit import service_of
    from openclaw.cli.gateway.unit_file import named_profile, unit_name

    name = unit_name(named_profile(at.profile, at.environ))
    return [(service_of(name, system=system).path, system) for system in (False, True)]


def _restart(at: Surroundings) -> str:
    """How the gateway is begun anew, by whoever has begun it."""
    if any(unit.exists() for unit, _ in _units(at)):
        return "openclaw gateway restart"
    pid = running_pid(at.paths.lock_path)
    if pid is None:
        return "openclaw gateway run"
    return (
        f"end it with Ctrl-C{f' or kill {pid}' if pid else ''}, and start it as before, such as: openclaw gateway run"
    )


def _install(at: Surroundings, unit: Path, text: str, *, system: bool) -> str:
    """The command that writes an installed unit anew, with what it was installed with."""
    from openclaw.cli.gateway.unit_file import install_command, port_of, user_of

    socket_text = None
    with suppress(OSError):
        socket_text = unit.with_suffix(".socket").read_text("utf-8", "replace")
    port = port_of(text, socket_text)
    if socket_text is not None and at.loaded is not None and port == at.config.gateway.port:
        port = None  # a socket always names its port, that of the configuration too
    return install_command(
        system=system, port=port, socket=socket_text is not None, run_as=user_of(text) if system else None
    )


def service_unit(at: Surroundings) -> Iterator[Finding]:
    """The systemd unit, where it is installed, starts a program that is there."""
    from openclaw.cli.gateway.unit_file import program_of

    for unit, system in _units(at):
        try:
            text = unit.read_text("utf-8", "replace")
        except OSError:
            continue
        program, again = program_of(text), _install(at, unit, text, system=system)
        if not os.access(program, os.X_OK):
            message = f"{unit} starts {program or 'nothing'}, which is not there"
            yield Finding("warning", message, again, str(unit))
        elif Path(program) != Path(sys.executable):
            message = f"{unit} starts another Python than this one: {program}"
            yield Finding("info", message, again, str(unit))


def versions(at: Surroundings) -> Iterator[Finding]:
    """Python and SQLite are new enough."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        message = f"SQLite {sqlite3.sqlite_version} is older than {wanted}, which the store is tested with"
        yield Finding("warning", message, "use a newer Python, or a newer distribution")


def clock(at: Surroundings) -> Iterator[Finding]:
    """The clock is about right."""
    now_s = time.time()
    newest_s = max((status.st_mtime for _, _, status in _private(at)), default=0.0)
    if now_s < _EARLIEST_S or newest_s > now_s + 86_400:
        message = f"the clock of this machine is wrong: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(now_s))}"
        yield Finding("warning", message, "timedatectl set-ntp true")


CHECKS = (
    Check("core/doctor/config-valid", config_valid, needs_config=False),
    Check("core/doctor/config-unused", unused_settings),
    Check("core/doctor/variables", variables_set),
    Check("core/doctor/gateway-auth", credential, is_local=True, repair=make_credential),
    Check("core/doctor/gateway-bind", bind, is_local=True),
    Check("core/doctor/security", plaintext_secrets),
    Check("core/doctor/state-folder", state_folder, needs_config=False, repair=repair_state_folder),
    Check("core/doctor/file-modes", modes, needs_config=False, repair=repair_modes),
    Check("core/doctor/store", store, needs_config=False),
    Check("core/doctor/embedded-model", embedded_model, is_local=True),
    Check("core/doctor/providers", providers, is_local=True),
    Check("core/doctor/models", agents_models, is_local=True),
    Check("core/doctor/gateway-port", port, is_local=True),
    Check("core/doctor/gateway-ready", gateway_ready, is_local=True),
    Check("core/doctor/service-unit", service_unit, needs_config=False),
    Check("core/doctor/versions", versions, needs_config=False),
    Check("core/doctor/clock", clock, needs_config=False),
)
"""All checks, in the order in which they are told."""
