"""
Out of file descriptors: how that is recognised, wherever it shows, and the line of the log that says so.

Every connection takes one.  A process that has none left cannot reach a model server, and can open no file: neither is
the fault of whom it looks like.
"""

from __future__ import annotations

import errno
import os
import resource
import time

from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import provider

from openclaw.errors import Overloaded
from openclaw.log_rare import RareLines

RETRY_AFTER_S = 5.0
"""When a client may ask again, in seconds: connections end all the time."""

_NUMBERS = (errno.EMFILE, errno.ENFILE)

_CLOSING = "EMFILE encountered"
"""How Twisted's line begins where it closes connections because of that."""

_NOT_ACCEPTED = "Could not accept new connection"
"""How its line begins where it lets one wait."""

log = Logger()


_rare = RareLines(time.monotonic)
"""That of this process, as the limit is."""


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether an error, be it Twisted's, came of having no descriptor left."""
    number = error.errno if isinstance(error, OSError) else getattr(error, "osError", None)
    return number in _NUMBERS


def has_none_left() -> bool:
    """Whether not even one file can be opened now: for errors that do not say so, as those of looking a name up."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return is_out_of_descriptors(error)
    return False


def out_of_descriptors() -> Overloaded:
    """The error for who cannot be served because of it; the log is told, once a minute."""
    _tell()
    return Overloaded("the gateway has as many files and connections open as it may", retry_after_s=RETRY_AFTER_S)


def cannot_accept(event: LogEvent) -> bool:
    """Whether Twisted says by an event that it let a connection wait, and will try again at once."""
    return _is_of(event, _NOT_ACCEPTED)


@provider(ILogObserver)
def watch_accepting(event: LogEvent) -> None:
    """An observer of the log: say what it means when Twisted cannot accept connections."""
    if _is_of(event, (_CLOSING, _NOT_ACCEPTED)):
        _tell()


def _is_of(event: LogEvent, beginnings: str | tuple[str, ...]) -> bool:
    return str(event.get("log_format", "")).startswith(beginnings) and event["log_namespace"].startswith("twisted.")


def _tell() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _rare.tell(
        log.error,
        "out of file descriptors: {limit} are all that this process may have, and clients are refused; raise the limit "
        "(ulimit -n, LimitNOFILE)",
        limit=limit,
    )
