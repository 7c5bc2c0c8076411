"""C{twistd openclaw}: options and the service, for C{ServiceMaker}."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python import usage

from openclaw._version import __version__
from openclaw.config.describe import describe, exit_status
from openclaw.config.paths import resolve_paths
from openclaw.config.plan import Options as GatewayOptions
from openclaw.config.plan import Plan, plan
from openclaw.errors import OpenClawError
from openclaw.process.clock import SteadyClock
from openclaw.process.memory import settle_memory
from openclaw.service.gateway import Gateway
from openclaw.service.twistd import GatewayService

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
        parent = getattr(self, "parent", None)
        if parent is not None and parent.get("nodaemon") and not any(map(parent.get, ("logger", "logfile", "syslog"))):
            # twistd's own lines are not without secrets.
            parent["logger"] = "openclaw.log.twistd_log"
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
            print(describe(error), file=sys.stderr)  # noqa: T201 -- there is no log yet
            raise SystemExit(exit_status(error)) from None


Options = TwistdOptions
"""The name that C{ServiceMaker} looks for."""


def makeService(options: TwistdOptions) -> IService:
    """The gateway as a service of twistd; C{SystemExit} as from L{TwistdOptions.plan}."""
    planned = options.plan()
    settle_memory()
    return GatewayService(Gateway(reactor, planned, SteadyClock(reactor)))
