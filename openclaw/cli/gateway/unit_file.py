"""
The text of the gateway's systemd units.

Nothing here opens a configuration or runs a program; secrets never come into a unit, which everybody may read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

import attrs

from openclaw.errors import StartError

STOP_MARGIN_S = 40
"""What systemd waits after the runs' time to finish, in seconds."""

PASSED_SOCKET = "systemd:domain=INET:index=0"
"""The endpoint of the socket that systemd passes; C{INET6} in place of C{INET} where its address is one."""

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@attrs.frozen
class Program:
    """
    What a unit starts.

    @ivar python: the interpreter that can import this package.
    @ivar arguments: those of C{openclaw}.
    @ivar environ: what the gateway is to have in its environment.
    @ivar state_dir: the folder in which it runs.
    """

    python: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    state_dir: Path


@attrs.frozen
class UnitOptions:
    """
    What a unit can be asked for, as C{openclaw gateway install} has it.

    @ivar system: for the whole machine, and not for one user's session.
    @ivar port: C{None} for that of the configuration.
    @ivar socket: systemd opens the port.
    @ivar run_as: who a system unit runs as.
    """

    system: bool | None = None
    port: int | None = None
    socket: bool = False
    run_as: str | None = None

    def command(self) -> str:
        """The command that writes such units in the place of what is there."""
        options = [
            *(["--system"] if self.system else []),
            *(["--port", str(self.port)] if self.port is not None else []),
            *(["--socket"] if self.socket else []),
            *(["--run-as", shlex.quote(self.run_as)] if self.run_as else []),
        ]
        return " ".join(["openclaw gateway install", *options, "--force"])


@attrs.frozen
class Unit:
    """
    What a unit is made of.

    @ivar name: without C{.service}.
    @ivar profile: empty for the usual one.
    @ivar drain_s: how long runs may take to finish, seconds.
    @ivar user: who a unit of the whole machine runs as; C{None} for one of a user's session.
    @ivar listen: C{host:port} of the socket that systemd is to open; C{None} if the gateway opens its own.
    """

    name: str
    profile: str
    program: Program
    drain_s: float
    user: str | None = None
    listen: str | None = None

    @property
    def system(self) -> bool:
        """Whether it is for the whole machine."""
        return self.user is not None

    def service_text(self) -> str:
        """The C{.service} file."""
        program = self.program
        unit_lines, install_lines = [], []
        if self.system:
            unit_lines += ["Wants=network-online.target", "After=network-online.target"]
        if self.listen is not None:
            unit_lines += [f"Requires={self.name}.socket", f"After={self.name}.socket"]
            install_lines.append(f"Also={self.name}.socket")
        install_lines.append(f"WantedBy={'multi-user' if self.system else 'default'}.target")
        environment = [f"Environment={quoted(f'{name}={value}')}" for name, value in sorted(program.environ.items())]
        if self.user is not None:
            environment.insert(0, f"User={self.user}")
        words = (program.python, "-P", "-m", "openclaw", *program.arguments)
        hardening = Template(_template(f"hardening-{'system' if self.system else 'user'}.conf"))
        return Template(_template("gateway.service")).substitute(
            user_option="" if self.system else "--user ",
            name=self.name,
            profile_note=self._profile_note(),
            unit_lines="".join(f"{line}\n" for line in unit_lines),
            command=" ".join(quoted(word, is_command=True) for word in words),
            # systemd takes this one as it stands, blanks included.
            folder=_to_the_end(str(program.state_dir)).replace("%", "%%"),
            environment="\n".join(environment),
            stop_s=round(self.drain_s + STOP_MARGIN_S),
            hardening=hardening.substitute(state_dir=quoted(str(program.state_dir))),
            install_lines="\n".join(install_lines),
        )

    def socket_text(self) -> str:
        """The C{.socket} file."""
        return Template(_template("gateway.socket")).substitute(
            name=self.name, profile_note=self._profile_note(), address=self.listen
        )

    def _profile_note(self) -> str:
        return f" ({self.profile})" if self.profile else ""


def unit_name(profile: str) -> str:
    """The name of the unit of a profile, as the original has it."""
    return f"openclaw-gateway-{profile}" if profile else "openclaw-gateway"


def named_profile(profile: str | None, environ: Mapping[str, str]) -> str:
    """The profile that is meant, by the command line or by C{OPENCLAW_PROFILE}; empty for the usual one."""
    named = profile if profile is not None else environ.get("OPENCLAW_PROFILE", "").strip()
    return "" if named.lower() == "default" else named


def program_of(text: str) -> str:
    """The program that the text of a C{.service} file starts, as L{quoted} wrote it; empty if it starts none."""
    return next(iter(_command_of(text)), "")


def _command_of(text: str) -> list[str]:
    commands = _values(text, "ExecStart")
    try:
        words = shlex.split(commands[0]) if commands else []
    except ValueError:
        words = []
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def port_of(text: str, socket_text: str | None) -> int | None:
    """
    The port that a service was installed with.

    @param text: of its C{.service} file.
    @param socket_text: of its C{.socket} file; C{None} if it has none.
    @return: C{None} if it takes that of the configuration.
    """
    if socket_text is not None:
        port = next(iter(_values(socket_text, "ListenStream")), "").rpartition(":")[2]
    else:
        words = _command_of(text)
        port = words[words.index("--port") + 1] if "--port" in words[:-1] else ""
    return int(port) if port.isascii() and port.isdecimal() else None


def user_of(text: str) -> str | None:
    """Who the text of a C{.service} file has it run as; C{None} for who starts it."""
    return next(iter(_values(text, "User")), None) or None


def _values(text: str, name: str) -> list[str]:
    """What a unit file says of one thing, in its order."""
    return [line.partition("=")[2].strip() for line in text.splitlines() if line.startswith(f"{name}=")]


def passed_endpoint(host: str) -> str:
    """The endpoint description of a passed socket that is bound to C{host}."""
    return PASSED_SOCKET.replace("INET", "INET6") if ":" in host else PASSED_SOCKET


def quoted(word: str, *, is_command: bool = False) -> str:
    """
    A word as systemd reads it back.

    @param is_command: it stands in a command line, where C{$} means a variable.
    @raise StartError: if it holds control characters or is not UTF-8, which no unit can have.
    """
    text = _one_line(word).replace("%", "%%")
    if is_command:
        text = text.replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _one_line(text: str) -> str:
    if _UNWRITABLE.search(text):
        raise StartError(f"{text!r} holds control characters or is not UTF-8: a unit cannot name it")
    return text


def _to_the_end(text: str) -> str:
    """A value that systemd takes as it stands, up to the end of its line."""
    if text != text.strip() or text.endswith("\\"):
        raise StartError(f"{text!r} ends with a blank or a backslash: a unit cannot name it")
    return _one_line(text)


def _template(name: str) -> str:
    return files("openclaw.ops").joinpath(name).read_text("utf-8")
