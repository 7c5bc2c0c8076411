"""What of a gateway's did not happen, and how that is told."""

from __future__ import annotations

from typing import Any

from openclaw.errors import OpenClawError


class RemoteError(OpenClawError):
    """
    What was asked of a gateway did not happen.

    @cvar kind: the C{type} in the envelope of C{--json}; the names are the original's.
    @ivar told_code: a code for programs, the gateway's or that of a close frame.
    @ivar told_details: what the gateway said besides, for programs.
    """

    kind = "cli_error"

    def __init__(self, message: str, *, code: str | int | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.told_code = code
        self.told_details = details

    def envelope(self) -> dict[str, Any]:
        """The failure as C{--json} prints it."""
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.told_code is not None:
            error["code"] = self.told_code
        if self.told_details is not None:
            error["details"] = self.told_details
        return {"ok": False, "error": error}


class GatewayUnreachable(RemoteError):
    """There is no gateway to talk to, or it went away; C{code} is that of the close frame, where there was one."""

    kind = "gateway_transport_error"


class ConnectionEnded(GatewayUnreachable):
    """A connection that worked has ended."""


class NoAnswer(GatewayUnreachable):
    """A call was not answered in time."""


class CallFailed(RemoteError):
    """The gateway refused a call or the connection; the code and the details are its own."""

    kind = "gateway_request_error"

    @property
    def detail_code(self) -> str:
        """The C{code} in the details, which says more than that of the error; empty if there is none."""
        code = self.told_details.get("code") if isinstance(self.told_details, dict) else None
        return code if isinstance(code, str) else ""
