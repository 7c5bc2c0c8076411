"""Opening the port."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from openclaw.config.listen import Listening
from openclaw.errors import StartError
from openclaw.http.connection.channel import GatewaySite

_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program uses it; stop that, or choose another port",
    errno.EACCES: "choose a port from 1024 on, or a place that you may write to",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}
"""What to do about the common reasons for not being able to listen."""


async def open_port(listening: Listening, reactor: Any, site: GatewaySite) -> IListeningPort:
    """
    Listen where the gateway is to be found.

    @raise StartError: with one line that says what to do, if that cannot be.
    """
    try:
        port: IListeningPort = await listening.endpoint(reactor).listen(site)
    except CannotListenError as error:
        where = listening.description or f"{listening.host}:{listening.port}"
        raise StartError(f"cannot listen at {where}: {_reason(error)}") from None
    except OSError as error:
        raise StartError(f"cannot listen at {listening.description}: {error.strerror or error}") from None
    except LookupError:
        raise StartError(f"cannot listen at {listening.description}: systemd passed no such socket") from None
    except (ValueError, TypeError):
        raise StartError(f"cannot listen at {listening.description}: this is no endpoint description") from None
    return port


def _reason(error: CannotListenError) -> str:
    """Why, and what to do about it; Twisted gives a text in place of an error where another holds a unix socket."""
    number = getattr(error.socketError, "errno", None)
    if number is None:
        return f"{error.socketError}; another program uses it"
    hint = _LISTEN_HINTS.get(number)
    return os.strerror(number) + (f"; {hint}" if hint else "")
