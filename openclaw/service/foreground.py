"""A gateway on the reactor of this process, until that is told to end."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor

from openclaw.config.plan import Plan
from openclaw.process.clock import SteadyClock
from openclaw.process.memory import settle_memory
from openclaw.process.signals import Foreground
from openclaw.service.gateway import Gateway


def run_foreground(planned: Plan, on_ready: Callable[[str], None]) -> int:
    """
    Run a gateway in this process until it is told to end; see L{Foreground}.

    @return: the exit status.
    """
    settle_memory()
    return Foreground(reactor, Gateway(reactor, planned, SteadyClock(reactor)), on_ready).run()
