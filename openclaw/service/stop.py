"""
How a gateway stops.

New runs are refused while the port stays open, those under way may finish, the last bytes go out, the port is
closed; then all that nobody asks for anything any more.
"""

from __future__ import annotations

from twisted.logger import Logger

from openclaw.agents.runs import Runs
from openclaw.http.connection.channel import GatewaySite
from openclaw.interfaces import Clock
from openclaw.waits import pause
from openclaw.ws.crowd import Crowd

STOP_ORDER = (
    "the runs",
    "the results of runs",
    # While the connections are open: who waits for a run is told how it ended.
    "the methods",
    "the connections",
    "the port",
    "the configuration watcher",
    "the garbage collector",
    "the tidying of the store",
    "the embedded model",
    "provider connections",
    "the store",
    "the log",
    "the lock of the state folder",
    # To the last: systemd takes a gateway that is silent for stuck.
    "the notices to systemd",
)
"""The parts of a gateway, in the order in which they are stopped."""

FLUSH_DEADLINE_S = 2.0
"""How long the last bytes of all connections may take when the gateway stops, in seconds."""

FLUSH_POLL_S = 0.01
"""How often to see meanwhile which connections are done, in seconds."""

log = Logger()


async def stop_runs(runs: Runs, grace_s: float) -> None:
    """Let the runs finish within C{grace_s}, and end what is left of them then."""
    if runs.count:
        have = "1 run has" if runs.count == 1 else f"{runs.count} runs have"
        log.warn("stopping; {have} {grace_s:g} s to finish", have=have, grace_s=grace_s)
    await runs.stop(grace_s)


async def close_connections(site: GatewaySite, crowd: Crowd, clock: Clock) -> None:
    """Let the answers that are being written go out, then close; what takes too long is cut."""
    deadline_s = clock.seconds() + FLUSH_DEADLINE_S
    closed: set[object] = set()
    crowd.close_all()
    while clock.seconds() < deadline_s and (site.open_connections or crowd.open_connections):
        done = [channel for channel in site.open_connections if not channel.requests and channel not in closed]
        closed.update(done)
        for channel in done:
            channel.loseConnection()
        await pause(FLUSH_POLL_S, clock)
    site.abort_all()
