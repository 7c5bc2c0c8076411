"""What becomes of a process whose gateway fails: a line on the log, and an exit status."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


def log_bug(failure: Failure) -> None:
    """Log a failure that nobody expected."""
    log.failure("the gateway failed by a bug", failure)


def exit_with(reactor: Any, status: int, last: Callable[[], object] = lambda: None) -> None:
    """
    End a twistd process with a status of our own, whether its reactor runs already or is about to.

    twistd has no way to be told one: it returns 0 or dies of a signal.  So the interpreter exits with ours once
    twistd has cleaned up.

    @param last: what is left to be done before that.
    """

    def leave() -> None:
        last()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def stop() -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    atexit.register(leave)
    reactor.callWhenRunning(stop)
