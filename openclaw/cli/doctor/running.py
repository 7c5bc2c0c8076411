"""What C{openclaw doctor} looks for about the gateway that runs or would: its port, its answers, its service."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openclaw.cli.doctor.findings import Finding, Surroundings
from openclaw.cli.gateway.systemd import Service, services_of
from openclaw.cli.gateway.unit_file import UnitOptions, port_of, program_of, user_of
from openclaw.config.auth_mode import listen_port
from openclaw.config.listen import listening_of
from openclaw.config.lock import lock_holder, running_pid
from openclaw.errors import OpenClawError, StartError

_TIMEOUT_S = 2.0


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
    assert at.loaded is not None
    holder = lock_holder(at.paths.lock_path)
    if holder is None:
        return
    pid, url = holder.pid, holder.url
    if url and not url.startswith("http://"):
        message = f"the gateway (pid {pid or 'unknown'}) listens at {url}, where commands do not reach it"
        yield Finding("info", message, "name a proxy in front of it to commands with --url")
        return
    import http.client  # only where a gateway runs

    from openclaw.cli.client.health_routes import fetch

    url = url or listening_of(at.config, listen_port(at.config, at.loaded.environ)).url()
    try:
        ready = fetch(f"{url}/readyz", _TIMEOUT_S)
    except (OSError, ValueError, http.client.HTTPException, OpenClawError) as error:
        reason = getattr(error, "reason", error)
        message = f"a gateway runs (pid {pid or 'unknown'}) and does not answer at {url}: {reason}"
        yield Finding("warning", message, f"it starts, stops or is stuck; {restart_hint(at)}", "gateway.port")
        return
    failing = ", ".join(map(str, ready.get("failing") or ()))
    if failing:
        yield Finding("warning", f"the gateway at {url} is not ready: {failing}", "openclaw logs --limit 50")
    uptime_ms = ready.get("uptimeMs")
    if isinstance(uptime_ms, int | float) and at.loaded.exists:
        began_s = time.time() - uptime_ms / 1000
        if at.paths.config_path.stat().st_mtime > began_s:
            message = "the configuration was changed after the gateway had started; some changes may wait for a restart"
            yield Finding("info", message, restart_hint(at), str(at.paths.config_path))


def restart_hint(at: Surroundings) -> str:
    """How the gateway is begun anew, by whoever has begun it."""
    if any(service.path.exists() for service in services_of(at.profile, at.environ)):
        return "openclaw gateway restart"
    pid = running_pid(at.paths.lock_path)
    if pid is None:
        return "openclaw gateway run"
    return (
        f"end it with Ctrl-C{f' or kill {pid}' if pid else ''}, and start it as before, such as: openclaw gateway run"
    )


def _install_command(at: Surroundings, service: Service, text: str) -> str:
    """The command that writes an installed unit anew, with what it was installed with."""
    socket_text = None
    with suppress(OSError):
        socket_text = service.socket_path.read_text("utf-8", "replace")
    port = port_of(text, socket_text)
    if socket_text is not None and at.loaded is not None and port == at.config.gateway.port:
        port = None  # a socket always names its port, that of the configuration too
    run_as = user_of(text) if service.system else None
    return UnitOptions(service.system, port, socket_text is not None, run_as).command()


def service_unit(at: Surroundings) -> Iterator[Finding]:
    """The systemd unit, where it is installed, starts a program that is there."""
    for service in services_of(at.profile, at.environ):
        unit = service.path
        try:
            text = unit.read_text("utf-8", "replace")
        except OSError:
            continue
        program, again = program_of(text), _install_command(at, service, text)
        if not os.access(program, os.X_OK):
            message = f"{unit} starts {program or 'nothing'}, which is not there"
            yield Finding("warning", message, again, str(unit))
        elif Path(program) != Path(sys.executable):
            message = f"{unit} starts another Python than this one: {program}"
            yield Finding("info", message, again, str(unit))
