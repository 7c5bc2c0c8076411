"""C{twistd openclaw}: options and the service, for C{ServiceMaker}."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python import usage

from openclaw._version import __version__
from openclaw.config.describe import describe, exit_status
from openclaw.config.paths import resolve_paths
from openclaw.config.plan import Options as GatewayOptions
from openclaw.config.plan import Plan, plan
from openclaw.config.redaction import secret_values
from openclaw.config.reload import LiveConfig
from openclaw.errors import OpenClawError
from openclaw.log_twistd import TwistdLog, TwistdStream, log_to_file, log_to_stdout, log_to_syslog
from openclaw.process.clock import SteadyClock
from openclaw.process.memory import settle_memory
from openclaw.redact import process_redactor
from openclaw.service.gateway import Gateway
from openclaw.service.twistd import GatewayService, Logged

BINDS = ("loopback", "lan", "auto", "custom")
"""What C{--bind} may be."""


class TwistdOptions(usage.Options):
    """The options of C{twistd openclaw}."""

    synopsis = "[options]"
    longdesc = "The OpenClaw Gateway: your own AI agents behind one port."
    optParameters = [
        ["config", "c", None, "Configuration file [default: ~/.openclaw/openclaw.json]."],
        ["port", "p", None, "TCP port, in place of gateway.port.", usage.portCoerce],
        ["bind", "b", None, f"{', '.join(BINDS)}: interface, in place of gateway.bind."],
        ["endpoint", "e", None, "Endpoint description (tcp, tcp6, unix, systemd), in place of port and bind."],
        ["profile", None, None, "Name of a separate state folder, ~/.openclaw-NAME."],
    ]

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"openclaw {__version__}")  # noqa: T201
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Refuse options that contradict each other (C{UsageError}) before anything is started."""
        if self["endpoint"] is not None and (self["port"] is not None or self["bind"] is not None):
            raise usage.UsageError("--endpoint takes the place of --port and --bind: give one or the other")
        twistd = self._twistd()
        if twistd.get("logfile") == "-" and not (twistd.get("nodaemon") or twistd.get("debug")):
            raise usage.UsageError("--logfile - takes --nodaemon: a daemon has no standard output")
        if self["bind"] not in (None, *BINDS):
            raise usage.UsageError(f"--bind is one of {', '.join(BINDS)}")

    def plan(self) -> Plan:
        """What options and configuration mean; tells an error and raises C{SystemExit} if no gateway can start so."""
        config = self["config"]
        options = GatewayOptions(
            Path(config) if config is not None else None, self["port"], self["bind"], self["endpoint"]
        )
        try:
            return plan(resolve_paths(os.environ, self["profile"]), os.environ, options)
        except OpenClawError as error:
            _refuse(error)

    def observer(self, level: str, console_level: str, max_file_bytes: int) -> TwistdLog | TwistdStream | None:
        """
        What twistd is to log with, by its own options: to a file, to syslog, or in the foreground to standard output.

        @param level: that of a file and of syslog.
        @param console_level: that of standard output.
        @return: C{None} where there is no twistd, or where it was given a logger.
        @raise openclaw.errors.StartError: if nothing can be written there, or there is no such level.
        """
        twistd = self._twistd()
        if not twistd or twistd.get("logger"):
            return None
        file = twistd.get("logfile")
        if twistd.get("syslog"):
            return log_to_syslog(twistd.get("prefix") or "", level)
        if twistd.get("nodaemon") and file in (None, "", "-"):
            return log_to_stdout(console_level)
        uid, gid = twistd.get("uid"), twistd.get("gid")
        # As twistd has it: a group without a user is that of the process from its start on.
        owner = (uid, gid if gid is not None else pwd.getpwuid(uid).pw_gid) if uid is not None else None
        path = Path(file or "twistd.log").absolute()
        return log_to_file(path, level, max_file_bytes=max_file_bytes, owner=owner)

    def logged(self, planned: Plan, live: LiveConfig) -> Logged | None:
        """As L{observer}, by the configuration; tells an error and raises C{SystemExit} if nothing can be written."""
        given = planned.options.log_level or planned.environ.get("OPENCLAW_LOG_LEVEL", "").strip()
        logging = planned.config.logging
        try:
            observer = self.observer(given or logging.level, given or logging.level_on_console, logging.max_file_bytes)
        except OpenClawError as error:
            _refuse(error)
        if observer is None:
            return None
        # Before twistd says its first word.
        process_redactor.learn(secret_values(planned.config, planned.loaded.environ))
        on_console = isinstance(observer, TwistdStream)

        def level_now() -> str:
            logging = live.current.logging
            return given or (logging.level_on_console if on_console else logging.level)

        return Logged(observer, level_now)

    def _twistd(self) -> Mapping[str, Any]:
        """The options of twistd itself; empty where somebody else calls us."""
        parent: Mapping[str, Any] | None = getattr(self, "parent", None)
        return parent if parent is not None else {}


def _refuse(error: OpenClawError) -> NoReturn:
    print(describe(error), file=sys.stderr)  # noqa: T201 -- there is no log yet
    raise SystemExit(exit_status(error)) from None


Options = TwistdOptions
"""The name that C{ServiceMaker} looks for."""


def makeService(options: TwistdOptions) -> IService:
    """The gateway as a service of twistd; C{SystemExit} as from L{TwistdOptions.plan}."""
    planned = options.plan()
    settle_memory()
    gateway = Gateway(reactor, planned, SteadyClock(reactor))
    return GatewayService(gateway, options.logged(planned, gateway.live))
