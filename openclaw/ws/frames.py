"""
The frames of the WebSocket protocol: what a client may send, and what it is sent.

A frame is one JSON object in one text message: a request, a response or an event.  What a client sends is checked
strictly, and what is wrong with it is said in the words of the original gateway, whose clients show them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import attrs
import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openclaw.wire import steps_of

MAX_CLOSE_REASON_BYTES = 123
"""Longest reason of a close frame, in bytes (RFC 6455, 5.5.1)."""

_Text = Annotated[str, Meta(min_length=1)]
_Version = Annotated[int, Meta(ge=1)]
_T = TypeVar("_T")

ClientId = Literal[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "test",
    "fingerprint",
    "openclaw-probe",
]
"""What kind of program a client may say that it is."""

ClientMode = Literal["webchat", "cli", "ui", "backend", "node", "worker", "probe", "test"]
"""What a client may say that it is there for."""


class _Strict(Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """An object in which every member is known."""


class RequestFrame(_Strict, frozen=True):
    """
    A client's request.

    @ivar id: comes back with the response, as it is.
    @ivar params: the method's parameters, not looked at yet; empty if there are none.
    """

    type: Literal["req"]
    id: _Text
    method: _Text
    params: Raw = Raw()
    traceparent: str | UnsetType = UNSET
    expected_profile_id: str | UnsetType = UNSET


class ClientInfo(_Strict, frozen=True):
    """What a client says of itself."""

    id: ClientId
    version: _Text
    platform: _Text
    mode: ClientMode
    display_name: _Text | UnsetType = UNSET
    build_id: _Text | UnsetType = UNSET
    device_family: _Text | UnsetType = UNSET
    model_identifier: _Text | UnsetType = UNSET
    time_zone: _Text | UnsetType = UNSET
    instance_id: _Text | UnsetType = UNSET


class Device(_Strict, frozen=True):
    """A device's identity and the proof of it.  The proof is not judged yet."""

    id: _Text
    public_key: _Text
    signature: _Text
    signed_at: Annotated[int, Meta(ge=0)]
    nonce: _Text


class ConnectAuth(_Strict, frozen=True):
    """The credentials that a client shows."""

    token: str | UnsetType = UNSET
    bootstrap_token: str | UnsetType = UNSET
    device_token: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    approval_runtime_token: str | UnsetType = UNSET
    agent_runtime_identity_token: str | UnsetType = UNSET


class ModelCatalogWish(_Strict, frozen=True):
    """For which session or agent a client wants the list of models at once; never served."""

    session_key: _Text | UnsetType = UNSET
    agent_id: _Text | UnsetType = UNSET


class ConnectParams(_Strict, frozen=True):
    """The parameters of C{connect}."""

    min_protocol: _Version
    max_protocol: _Version
    client: ClientInfo
    caps: list[_Text] = []
    commands: list[_Text] = []
    permissions: dict[_Text, bool] = {}
    path_env: str | UnsetType = UNSET
    role: _Text = "operator"
    scopes: list[_Text] = []
    device: Device | UnsetType = UNSET
    auth: ConnectAuth = ConnectAuth()
    locale: str | UnsetType = UNSET
    user_agent: str | UnsetType = UNSET
    model_catalog: ModelCatalogWish | UnsetType = UNSET


class MalformedFrame(Exception):
    """What is wrong with what a client sent, and where, in the words of the original."""


class WireError(Struct, frozen=True, rename="camel", omit_defaults=True):
    """
    The C{error} of a response; what is C{None} is left out.

    @ivar code: what a client branches on, such as C{INVALID_REQUEST}.
    @ivar details: more for programs; its C{code} says what happened.
    @ivar retryable: whether the same request may succeed later; C{None} where nobody asks.
    @ivar retry_after_ms: milliseconds after which it may.
    """

    code: str
    message: str
    details: Mapping[str, Any] | None = None
    retryable: bool | None = None
    retry_after_ms: int | None = None


# ------------------------------------------------------------------------------------------ in

# Half a character in a text that msgspec does look at is a UnicodeDecodeError.
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_request_decoder = msgspec.json.Decoder(RequestFrame)
_loose_decoder = msgspec.json.Decoder()


class _WithId(Struct, frozen=True):
    """Any object that may have an id.  The rest is not decoded: of a large one that takes seconds."""

    id: str = ""


_id_decoder = msgspec.json.Decoder(_WithId)


def is_json(data: bytes) -> bool:
    """Tell whether a message is JSON at all."""
    try:
        _loose_decoder.decode(data)
    except _NOT_JSON:
        return False
    return True


def read_request(data: bytes) -> RequestFrame:
    """Read a request; L{MalformedFrame} if it is none."""
    return decode(_request_decoder, data)


def id_of_malformed(data: bytes) -> str:
    """The id under which a client hears that its frame was malformed; C{invalid} if it gave none."""
    try:
        return _id_decoder.decode(data).id or "invalid"
    except _NOT_JSON:
        return "invalid"


def decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    """Read JSON of a certain shape; L{MalformedFrame} if it does not have that shape."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise MalformedFrame(what_is_wrong(error)) from None
    except _NOT_JSON:
        raise MalformedFrame("at root: must be JSON") from None


def params_of(frame: RequestFrame) -> bytes:
    """The parameters of a request as JSON; an empty object where there are none or C{null}."""
    data = bytes(frame.params)
    return data if data and data != b"null" else b"{}"


_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Object missing required field `(.+)`", re.S), "must have required property '{0}'"),
    (re.compile(r"Object contains unknown field `(.+)`", re.S), "unexpected property '{0}'"),
    (re.compile(r"Invalid (?:enum )?value .*", re.S), "must be equal to one of the allowed values"),
    (re.compile(r"Expected `str` of length >= (\d+)"), "must not have fewer than {0} characters"),
    (re.compile(r"Expected `str` of length <= (\d+)"), "must not have more than {0} characters"),
    (re.compile(r"Expected `array` of length >= (\d+)"), "must not have fewer than {0} items"),
    (re.compile(r"Expected `array` of length <= (\d+)"), "must not have more than {0} items"),
    (re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (.+)"), "must be {0} {1}"),
)
_TYPE = re.compile(r"Expected `([a-z| ]+)`, got `.*`")
_TYPE_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def what_is_wrong(error: msgspec.ValidationError) -> str:
    """
    Say in the original's words what msgspec found wrong.

    C{Expected `str`, got `int` - at `$.client.id`} becomes C{at /client/id: must be string}.
    """
    reason, _, where = str(error).partition(" - at `")
    pointer = "".join(f"/{step}" for step in steps_of(where.rpartition("$")[2].rstrip("`")))
    missing = reason.startswith("Object missing")
    prefix = f"at {pointer}: " if pointer else "" if missing else "at root: "
    return prefix + _in_their_words(reason)


def _in_their_words(reason: str) -> str:
    for pattern, words in _RULES:
        match = pattern.fullmatch(reason)
        if match is not None:
            return words.format(*match.groups())
    match = _TYPE.fullmatch(reason)
    if match is None:
        return reason.replace("`", "")
    names = [_TYPE_NAMES.get(name, name) for name in match[1].split(" | ")]
    # An optional member may be absent; that it may be null, too, is nothing to tell.
    return "must be " + " or ".join([name for name in names if name != "null"] or names)


# ------------------------------------------------------------------------------------------ out


def result_frame(request_id: str, payload: object) -> bytes:
    """A response to a request that succeeded; C{TypeError} if the payload cannot be JSON."""
    return msgspec.json.encode({"type": "res", "id": request_id, "ok": True, "payload": payload})


def error_frame(request_id: str, error: WireError) -> bytes:
    """A response to a request that failed."""
    return msgspec.json.encode({"type": "res", "id": request_id, "ok": False, "error": error})


@attrs.frozen
class EventFrame:
    """
    An event, encoded once for everybody who is sent it.

    @ivar head: the frame without its last member and brace.
    @ivar droppable: whether a client that does not read may miss it.
    """

    head: bytes
    droppable: bool = False

    def numbered(self, seq: int) -> bytes:
        """The frame for one connection, with its number there."""
        return b'%b,"seq":%d}' % (self.head, seq)

    def bare(self) -> bytes:
        """The frame without a number, for what is sent to one client only."""
        return self.head + b"}"


def event_frame(
    name: str, payload: object, *, droppable: bool = False, state_version: Mapping[str, int] | None = None
) -> EventFrame:
    """Encode an event, with the versions of presence and health that it tells."""
    members: dict[str, object] = {"type": "event", "event": name, "payload": payload}
    if state_version is not None:
        members["stateVersion"] = state_version
    return EventFrame(msgspec.json.encode(members)[:-1], droppable)


def close_reason(text: str) -> bytes:
    """A close frame's reason, cut at L{MAX_CLOSE_REASON_BYTES} between two characters."""
    return text.encode()[:MAX_CLOSE_REASON_BYTES].decode(errors="ignore").encode()
