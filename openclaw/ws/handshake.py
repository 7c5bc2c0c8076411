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
from automat import TypeMachine, TypeMachineBuilder, pep614
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

    @ivar request_id: the request that is answered; C{None} if nothing can be.
    @ivar close_code: the code of the close frame.
    @ivar close_text: its reason.
    """

    request_id: str | None
    error: WireError | None
    close_code: int
    close_text: str


@attrs.frozen
class Admitted:
    """
    A client that is let in.

    @ivar request_id: its C{connect}, to be answered with C{hello-ok}.
    """

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


class _Inputs(Protocol):
    """What happens to the machine."""

    def receive(self, data: bytes) -> None:
        """A frame has come."""

    def admit(self, admitted: Admitted) -> None:
        """The client may come in."""

    def hold(self, refusal: Refusal, delay_s: float) -> None:
        """It may not, and is to be told late."""

    def refuse(self, refusal: Refusal) -> None:
        """It may not, and is told now."""

    def leave(self) -> None:
        """The connection is gone, or going."""


@attrs.define(eq=False)
class _Handshake:
    """The machine's memory and its deeds."""

    link: Link
    clock: Clock
    phase: Callable[[], Phase]
    judge: Callable[[ConnectClaim], ConnectAdmission | ConnectRefusal]
    inputs: _Inputs = attrs.field(init=False)
    held_frames: int = 0
    timer: IDelayedCall | None = None

    def decide(self, data: bytes) -> None:
        """Judge the first frame; one of the other inputs follows at once."""
        verdict, delay_s = self._verdict(data)
        if isinstance(verdict, Admitted):
            self.inputs.admit(verdict)
        elif delay_s > 0:
            self.inputs.hold(verdict, delay_s)
        else:
            self.inputs.refuse(verdict)

    def _verdict(self, data: bytes) -> tuple[Admitted | Refusal, float]:
        try:
            frame = read_request(data)
        except MalformedFrame:
            # A client that speaks no JSON speaks another protocol, and would not know what to do with a reason.
            code, text = (CLOSE_POLICY, "invalid request frame") if is_json(data) else (CLOSE_NORMAL, "")
            return Refusal(None, None, code, text), 0.0
        if frame.method != "connect":
            return _invalid(frame, "invalid handshake: first request must be connect"), 0.0
        try:
            params = decode(_params_decoder, params_of(frame))
        except MalformedFrame as error:
            return _invalid(frame, f"invalid connect params: {error.reason}"), 0.0
        refusal = _not_now(frame, self.phase()) or _wrong_protocol(frame, params) or _wrong_role(frame, params)
        if refusal is not None:
            return refusal, 0.0
        try:
            verdict = self.judge(_claim(params))
        except OpenClawError as error:
            # The configuration in force lets nobody in, or the request is such that nobody can say whose it is.
            return Refusal(frame.id, wire_error(error), CLOSE_POLICY, error.message), 0.0
        if isinstance(verdict, ConnectAdmission):
            return Admitted(frame.id, params, verdict), 0.0
        retry_after_ms = None if verdict.retry_after_s is None else int(verdict.retry_after_s * 1000)
        retryable = None if retry_after_ms is None else True
        wire = WireError(verdict.code, verdict.message, verdict.details, retryable, retry_after_ms)
        return Refusal(frame.id, wire, CLOSE_POLICY, verdict.message), verdict.delay_s

    def hold(self, refusal: Refusal, delay_s: float) -> None:
        """Let a client wait for its refusal."""
        self.timer = self.clock.callLater(delay_s, self.inputs.refuse, refusal)

    def count(self) -> None:
        """A client says more while it is being held."""
        self.held_frames += 1
        if self.held_frames > MAX_HELD_FRAMES:
            self.inputs.refuse(Refusal(None, None, CLOSE_POLICY, "too many pending handshake frames"))

    def refuse(self, refusal: Refusal) -> None:
        """Say why, and close."""
        self.forget()
        if refusal.request_id is not None and refusal.error is not None:
            self.link.send(error_frame(refusal.request_id, refusal.error))
        self.link.close(refusal.close_code, refusal.close_text)

    def forget(self) -> None:
        """Nobody is to be told anything any more."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None


def _build() -> TypeMachine[_Inputs, _Handshake]:
    """The machine; the docstring of this module draws it."""
    builder = TypeMachineBuilder(_Inputs, _Handshake)
    challenged = builder.state("challenged")
    judging = builder.state("judging")
    held = builder.state("held")
    connected = builder.state("connected")
    closed = builder.state("closed")

    @pep614(challenged.upon(_Inputs.receive).to(judging))
    def decide(inputs: _Inputs, handshake: _Handshake, data: bytes) -> None:
        handshake.decide(data)

    @pep614(judging.upon(_Inputs.admit).to(connected))
    def welcome(inputs: _Inputs, handshake: _Handshake, admitted: Admitted) -> None:
        handshake.link.welcome(admitted)

    @pep614(judging.upon(_Inputs.hold).to(held))
    def hold(inputs: _Inputs, handshake: _Handshake, refusal: Refusal, delay_s: float) -> None:
        handshake.hold(refusal, delay_s)

    @pep614(held.upon(_Inputs.receive).loop())
    def count(inputs: _Inputs, handshake: _Handshake, data: bytes) -> None:
        handshake.count()

    @pep614(judging.upon(_Inputs.refuse).to(closed))
    @pep614(held.upon(_Inputs.refuse).to(closed))
    def refuse(inputs: _Inputs, handshake: _Handshake, refusal: Refusal) -> None:
        handshake.refuse(refusal)

    @pep614(connected.upon(_Inputs.receive).loop())
    def serve(inputs: _Inputs, handshake: _Handshake, data: bytes) -> None:
        handshake.link.serve(data)

    @pep614(challenged.upon(_Inputs.leave).to(closed))
    @pep614(judging.upon(_Inputs.leave).to(closed))
    @pep614(held.upon(_Inputs.leave).to(closed))
    @pep614(connected.upon(_Inputs.leave).to(closed))
    def leave(inputs: _Inputs, handshake: _Handshake) -> None:
        handshake.forget()

    closed.upon(_Inputs.receive).loop().returns(None)
    closed.upon(_Inputs.leave).loop().returns(None)
    return builder.build()


_machine = _build()


class Handshake:
    """
    The handshake of one connection.

    @param link: the connection.
    @param phase: tells whether the gateway can take anybody.
    @param judge: decides who the client is: L{openclaw.auth.policy.AccessPolicy.judge_connect}.
    """

    def __init__(
        self,
        link: Link,
        clock: Clock,
        phase: Callable[[], Phase],
        judge: Callable[[ConnectClaim], ConnectAdmission | ConnectRefusal],
    ) -> None:
        handshake = _Handshake(link, clock, phase, judge)
        self._inputs = handshake.inputs = _machine(handshake)

    def receive(self, data: bytes) -> None:
        """A frame has come."""
        self._inputs.receive(data)

    def leave(self) -> None:
        """The connection is gone, or going: nothing is answered any more."""
        self._inputs.leave()


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


def _invalid(frame: RequestFrame, message: str) -> Refusal:
    return Refusal(frame.id, WireError("INVALID_REQUEST", message), CLOSE_POLICY, message)


def _not_now(frame: RequestFrame, phase: Phase) -> Refusal | None:
    if phase == "started":
        return None
    if phase == "draining":
        message, reason = "connect unavailable during gateway restart", "gateway-draining"
    else:
        message, reason = "gateway starting; retry shortly", "startup-sidecars"
    error = WireError("UNAVAILABLE", message, {"reason": reason}, True, RETRY_AFTER_MS)
    return Refusal(frame.id, error, CLOSE_TRY_AGAIN, message)


def _wrong_protocol(frame: RequestFrame, params: ConnectParams) -> Refusal | None:
    probing = params.client.mode == "probe"
    oldest = MIN_PROBE_PROTOCOL if probing else PROTOCOL_VERSION
    if params.min_protocol <= PROTOCOL_VERSION and params.max_protocol >= oldest:
        return None
    message = "protocol mismatch"
    details = {
        "code": "PROTOCOL_MISMATCH",
        "clientMinProtocol": params.min_protocol,
        "clientMaxProtocol": params.max_protocol,
        "expectedProtocol": PROTOCOL_VERSION,
        "minimumProbeProtocol": MIN_PROBE_PROTOCOL,
    }
    return Refusal(frame.id, WireError("INVALID_REQUEST", message, details), CLOSE_PROTOCOL, message)


def _wrong_role(frame: RequestFrame, params: ConnectParams) -> Refusal | None:
    if params.role == "operator":
        return None
    if params.role == "node":
        return _invalid(frame, "invalid role: this gateway does not serve nodes yet")
    return _invalid(frame, "invalid role")
