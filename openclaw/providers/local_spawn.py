"""
Starting the embedded model's child process, and talking to it.

L{openclaw.providers.local_process} decides when; what runs in the child is L{openclaw.providers.local_child}.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from openclaw.errors import StartError
from openclaw.interfaces import Clock
from openclaw.providers.local_child import ERROR_MARK, NOT_INSTALLED, READY_MARK

BASE_RSS_BYTES = 2 * 1024**3
"""Memory that any child may have; see L{LocalSettings.max_rss_bytes}."""

MAX_LINE_BYTES = 8192
"""Longest line of the child's output that is looked at; the rest of it is dropped."""

KEPT_LINES = 20
"""Lines of the child's standard error that are kept for the log."""

PASSED_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH")
"""All that the child gets of our environment: ours holds secrets."""


class Reactor(Clock, Protocol):
    """The part of the reactor that is used: C{IReactorTime} and C{IReactorProcess}."""

    def spawnProcess(
        self, processProtocol: ProcessProtocol, executable: str, args: Sequence[str], env: Mapping[str, str]
    ) -> IProcessTransport: ...


@attrs.frozen
class LocalSettings:
    """
    How the embedded model is served.

    @ivar alias: the model's name at the child.
    @ivar context_tokens: tokens of one conversation, prompt and answer together.
    @ivar parallel: conversations that are answered at the same time; more of them wait.
    @ivar threads: threads that compute; C{None} for one per processor that this process may use, at most 4.
    @ivar max_rss_bytes: resident memory over which the child is started anew; C{None} for L{BASE_RSS_BYTES} and
        twice the weights' size, as they may be held once mapped and once repacked for the processor.
    """

    alias: str
    context_tokens: int = 4096
    parallel: int = 2
    threads: int | None = None
    max_rss_bytes: int | None = None

    def child_line(self, path: Path, api_key: str) -> bytes:
        """The line that the child reads from its standard input."""
        fields = {
            "path": str(path),
            "api_key": api_key,
            "alias": self.alias,
            "context_tokens": self.context_tokens,
            "parallel": self.parallel,
            "threads": self.threads or min(4, available_processors()),
        }
        return json.dumps(fields).encode() + b"\n"


def available_processors() -> int:
    """Processors that this process may run on; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def library_installed() -> bool:
    """Whether xllamacpp can be found, one that was installed while we run included."""
    invalidate_caches()
    return find_spec("xllamacpp") is not None


def child_environment(environ: Mapping[str, str], search_path: list[str]) -> dict[str, str]:
    """
    The child's whole environment: it finds modules where we do and gets nothing else of ours.

    @param environ: our own environment.
    @param search_path: our C{sys.path}.
    """
    passed = {name: environ[name] for name in PASSED_ENVIRONMENT if name in environ}
    passed["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in search_path)
    return passed


def resident_bytes(pid: int) -> int | None:
    """The resident memory of a process by C{/proc}; C{None} where that cannot be read."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


class _Lines:
    """Splits a child's output into lines, none longer than L{MAX_LINE_BYTES}."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; complete lines are passed on."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            self._take(line[:MAX_LINE_BYTES].decode(errors="replace"))


@attrs.frozen(eq=False)
class ChildMeans:
    """
    What a child is started with, and watched by; see L{openclaw.providers.local_process.LocalModel}.

    @ivar locate: finds the weights, off the reactor's thread.
    @ivar environ: our environment, of which the child gets L{PASSED_ENVIRONMENT}.
    @ivar installed: whether the library is there.
    @ivar resident: a process's resident memory in bytes.
    """

    reactor: Reactor
    settings: LocalSettings
    locate: Callable[[], Deferred[Path]]
    environ: Mapping[str, str]
    installed: Callable[[], bool]
    resident: Callable[[int], int | None]

    async def find(self) -> tuple[Path, int]:
        """
        The weights, and the memory in bytes that a child with them may have.

        @raise StartError: if they or the library are missing.
        """
        if not self.installed():
            raise StartError(NOT_INSTALLED)
        path = await self.locate()
        return path, self.settings.max_rss_bytes or BASE_RSS_BYTES + 2 * path.stat().st_size


class ChildOwner(Protocol):
    """Who is told what the child does."""

    def announced(self, url: str) -> None:
        """It serves at C{url}."""

    def condemn(self, reason: str) -> None:
        """It said what makes no sense and must go."""

    def ended(self, reason: str) -> None:
        """Its process has ended, or could not be started; nothing follows."""


class ChildProcess(ProcessProtocol):
    """
    One child, from its start to its end.

    @ivar last_lines: the last lines that it said, for the log; they may hold paths.
    """

    def __init__(self, owner: ChildOwner, settings_line: bytes) -> None:
        self._owner = owner
        self._settings_line = settings_line
        self._last_error: str | None = None
        self._process: IProcessTransport | None = None
        self._out = _Lines(self._said)
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._err = _Lines(self.last_lines.append)

    def spawn(self, reactor: Reactor, environ: Mapping[str, str]) -> None:
        """
        Start the process; the owner is told what comes of it.

        @param environ: our environment, see L{PASSED_ENVIRONMENT}.
        """
        # -P: the working directory must not lend the child modules; its search path is given by the environment.
        command = [sys.executable, "-P", "-m", "openclaw.providers.local_child"]
        environment = child_environment(environ, sys.path)
        try:
            self._process = reactor.spawnProcess(self, sys.executable, command, env=environment)
        except OSError as error:
            self._owner.ended(f"its process cannot be started: {error.strerror}")

    @property
    def pid(self) -> int | None:
        """Process id; C{None} before the start and after the end."""
        return self._process.pid if self._process is not None else None

    def close_stdin(self) -> None:
        """Ask the child to leave."""
        if self._process is not None:
            self._process.closeStdin()

    def signal(self, name: Literal["TERM", "KILL"]) -> None:
        """Send a signal, if there is still somebody to get it."""
        try:
            if self._process is not None:
                self._process.signalProcess(name)
        except ProcessExitedAlready:
            pass  # the system has seen its end; we are told in a moment

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._settings_line)

    def outReceived(self, data: bytes) -> None:
        self._out.feed(data)

    def errReceived(self, data: bytes) -> None:
        self._err.feed(data)

    def processEnded(self, reason: Failure) -> None:
        self._process = None
        self._owner.ended(self._last_error or reason.getErrorMessage())

    def _said(self, line: str) -> None:
        if line.startswith(READY_MARK):
            url = _member(line[len(READY_MARK) :], "url")
            if url is None:
                self._owner.condemn("it announced itself without an address")
            else:
                self._owner.announced(url)
        elif line.startswith(ERROR_MARK):
            self._last_error = _member(line[len(ERROR_MARK) :], "message")
        else:
            self.last_lines.append(line)


def _member(text: str, name: str) -> str | None:
    """A text member of a JSON object; C{None} if there is none."""
    try:
        value = json.loads(text)[name]
    except (ValueError, TypeError, KeyError):
        return None
    return value if isinstance(value, str) else None
