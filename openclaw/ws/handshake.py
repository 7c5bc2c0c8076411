"""
From the challenge to C{hello-ok}, as a state machine.

The states and what moves between them::

    challenged ─receive─> judging ─admit─> connected
                          judging ─refuse─> closed
                          judging ─hold─> held ─refuse─> closed
    challenged, held, connected ─leave─> closed

A client whose secret is wrong is held for a moment before it is told, and may say little meanwhile.  Order of the
decisions: shape, whether the gateway can take anybody, protocol, role, and then L{openclaw.auth.connect}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import attrs
import msgspec
from automat import TypeMachineBuilder, pep614
from twisted.internet.interfaces import IDelayedCall

from openclaw.auth.connect import ConnectAdmission, ConnectClaim, ConnectRefusal
from openclaw.errors import OpenClawError
from openclaw.interfaces import Clock
from openclaw.wire import MIN_PROBE_PROTOCOL, PROTOCOL_VERSION
from openclaw.ws.dispatch import wire_error
from openclaw.ws.frames import (
    ConnectParams,
    MalformedFrame,
    RequestFrame,
    WireError,
    decode,
    error_frame,
    is_json,
    params_of,
    read_request,
)

MAX_HELD_FRAMES = 15
"""Most frames that a client may send while its C{connect} is not answered (original: the same)."""

CLOSE_NORMAL = 1000
CLOSE_PROTOCOL = 1002
CLOSE_POLICY = 1008
CLOSE_TRY_AGAIN = 1013

RETRY_AFTER_MS = 1000
"""What a client is told to wait while the gateway starts or stops, in milliseconds."""

Phase = Literal["starting", "started", "draining"]
"""A gateway's phase of life."""

_params_decoder = msgspec.json.Decoder(ConnectParams)


@attrs.frozen
class Refusal:
    """
    Why a connection ends before it began.

    @ivar close_code: the code of the close frame.
    @ivar close_text: its reason.
    @ivar answer: the response that goes before it; C{None} if nothing can be answered.
    @ivar delay_s: for how long the client is held before it is told, in seconds.
    """

    close_code: int
    close_text: str
    answer: bytes | None = None
    delay_s: float = 0.0


@attrs.frozen
class Admitted:
    """A client that is let in; its C{connect} is to be answered with C{hello-ok}."""

    request_id: str
    params: ConnectParams
    admission: ConnectAdmission


class Link(Protocol):
    """The connection that shakes hands."""

    def send(self, data: bytes) -> None:
        """Send a frame."""

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection with a code, once what was sent is out."""

    def welcome(self, admitted: Admitted) -> None:
        """The client is let in: say hello, and serve it."""

    def serve(self, data: bytes) -> None:
        """A frame of a client that was let in."""


class Handshake(Protocol):
    """The handshake of one connection: what happens to it.  Made by L{begin}."""

    def receive(self, data: bytes) -> None:
        """A frame has come."""

    def admit(self, admitted: Admitted) -> None:
        """The client may come in."""

    def hold(self, refusal: Refusal) -> None:
        """It may not, and is to be told late."""

    def refuse(self, refusal: Refusal) -> None:
        """It may not, and is told now."""

    def leave(self) -> None:
        """The connection is gone, or going: nothing is answered any more."""


@attrs.define(eq=False)
class _Client:
    """What the machine remembers; see L{begin}."""

    link: Link
    clock: Clock
    phase: Callable[[], Phase]
    judge: Callable[[ConnectClaim], ConnectAdmission | ConnectRefusal]
    held_frames: int = 0
    timer: IDelayedCall | None = None

    def verdict(self, data: bytes) -> Admitted | Refusal:
        """Judge the first frame."""
        try:
            frame = read_request(data)
        except MalformedFrame:
            # A client that speaks no JSON speaks another protocol, and would not know what to do with a reason.
            return Refusal(CLOSE_POLICY, "invalid request frame") if is_json(data) else Refusal(CLOSE_NORMAL, "")
        if frame.method != "connect":
            return _invalid(frame, "invalid handshake: first request must be connect")
        try:
            params = decode(_params_decoder, params_of(frame))
        except MalformedFrame as error:
            return _invalid(frame, f"invalid connect params: {error}")
        refusal = _not_now(frame, self.phase()) or _wrong_protocol(frame, params) or _wrong_role(frame, params)
        if refusal is not None:
            return refusal
        try:
            verdict = self.judge(_claim(params))
        except OpenClawError as error:
            # The configuration in force lets nobody in, or the request is such that nobody can say whose it is.
            return _refused(frame, wire_error(error))
        if isinstance(verdict, ConnectAdmission):
            return Admitted(frame.id, params, verdict)
        retry_after_ms = None if verdict.retry_after_s is None else int(verdict.retry_after_s * 1000)
        retryable = None if retry_after_ms is None else True
        wire = WireError(verdict.code, verdict.message, verdict.details, retryable, retry_after_ms)
        return _refused(frame, wire, delay_s=verdict.delay_s)

    def forget(self) -> None:
        """Nobody is to be told anything any more."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None


_builder = TypeMachineBuilder(Handshake, _Client)
_challenged = _builder.state("challenged")
_judging = _builder.state("judging")
_held = _builder.state("held")
_connected = _builder.state("connected")
_closed = _builder.state("closed")


@pep614(_challenged.upon(Handshake.receive).to(_judging))
def _decide(handshake: Handshake, client: _Client, data: bytes) -> None:
    verdict = client.verdict(data)
    if isinstance(verdict, Admitted):
        handshake.admit(verdict)
    elif verdict.delay_s > 0:
        handshake.hold(verdict)
    else:
        handshake.refuse(verdict)


@pep614(_judging.upon(Handshake.admit).to(_connected))
def _welcome(handshake: Handshake, client: _Client, admitted: Admitted) -> None:
    client.link.welcome(admitted)


@pep614(_judging.upon(Handshake.hold).to(_held))
def _hold(handshake: Handshake, client: _Client, refusal: Refusal) -> None:
    client.timer = client.clock.callLater(refusal.delay_s, handshake.refuse, refusal)


@pep614(_held.upon(Handshake.receive).loop())
def _count(handshake: Handshake, client: _Client, data: bytes) -> None:
    client.held_frames += 1
    if client.held_frames > MAX_HELD_FRAMES:
        handshake.refuse(Refusal(CLOSE_POLICY, "too many pending handshake frames"))


@pep614(_judging.upon(Handshake.refuse).to(_closed))
@pep614(_held.upon(Handshake.refuse).to(_closed))
def _refuse(handshake: Handshake, client: _Client, refusal: Refusal) -> None:
    client.forget()
    if refusal.answer is not None:
        client.link.send(refusal.answer)
    client.link.close(refusal.close_code, refusal.close_text)


@pep614(_connected.upon(Handshake.receive).loop())
def _serve(handshake: Handshake, client: _Client, data: bytes) -> None:
    client.link.serve(data)


@pep614(_challenged.upon(Handshake.leave).to(_closed))
@pep614(_judging.upon(Handshake.leave).to(_closed))
@pep614(_held.upon(Handshake.leave).to(_closed))
@pep614(_connected.upon(Handshake.leave).to(_closed))
def _leave(handshake: Handshake, client: _Client) -> None:
    client.forget()


_closed.upon(Handshake.receive).loop().returns(None)
_closed.upon(Handshake.leave).loop().returns(None)
_machine = _builder.build()


def begin(
    link: Link,
    clock: Clock,
    phase: Callable[[], Phase],
    judge: Callable[[ConnectClaim], ConnectAdmission | ConnectRefusal],
) -> Handshake:
    """
    Begin the handshake of one connection.

    @param phase: tells whether the gateway can take anybody.
    @param judge: decides who the client is: L{openclaw.auth.policy.AccessPolicy.judge_connect}.
    """
    return _machine(_Client(link, clock, phase, judge))


def _claim(params: ConnectParams) -> ConnectClaim:
    auth = params.auth
    return ConnectClaim(
        params.client.id,
        params.client.mode,
        tuple(params.scopes),
        token=auth.token or None,
        password=auth.password or None,
        device_token=auth.device_token or auth.bootstrap_token or None,
        has_device=bool(params.device),
    )


def _refused(frame: RequestFrame, error: WireError, code: int = CLOSE_POLICY, delay_s: float = 0.0) -> Refusal:
    return Refusal(code, error.message, error_frame(frame.id, error), delay_s)


def _invalid(frame: RequestFrame, message: str) -> Refusal:
    return _refused(frame, WireError("INVALID_REQUEST", message))


def _not_now(frame: RequestFrame, phase: Phase) -> Refusal | None:
    if phase == "started":
        return None
    if phase == "draining":
        message, reason = "connect unavailable during gateway restart", "gateway-draining"
    else:
        message, reason = "gateway starting; retry shortly", "startup-sidecars"
    error = WireError("UNAVAILABLE", message, {"reason": reason}, True, RETRY_AFTER_MS)
    return _refused(frame, error, CLOSE_TRY_AGAIN)


def _wrong_protocol(frame: RequestFrame, params: ConnectParams) -> Refusal | None:
    oldest = MIN_PROBE_PROTOCOL if params.client.mode == "probe" else PROTOCOL_VERSION
    if params.min_protocol <= PROTOCOL_VERSION and params.max_protocol >= oldest:
        return None
    details = {
        "code": "PROTOCOL_MISMATCH",
        "clientMinProtocol": params.min_protocol,
        "clientMaxProtocol": params.max_protocol,
        "expectedProtocol": PROTOCOL_VERSION,
        "minimumProbeProtocol": MIN_PROBE_PROTOCOL,
    }
    return _refused(frame, WireError("INVALID_REQUEST", "protocol mismatch", details), CLOSE_PROTOCOL)


def _wrong_role(frame: RequestFrame, params: ConnectParams) -> Refusal | None:
    if params.role == "operator":
        return None
    nodes = ": this gateway does not serve nodes yet" if params.role == "node" else ""
    return _invalid(frame, f"invalid role{nodes}")
