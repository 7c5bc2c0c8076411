"""
What a request's headers say about being sent more than once, and about its client leaving.

C{Idempotency-Key} names the request; C{x-stainless-retry-count} is what the OpenAI libraries count their retries in;
C{x-openclaw-on-disconnect} says whether a run ends with its client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

import attrs

from openclaw.agents.plan import RunPlan
from openclaw.errors import InvalidRequest
from openclaw.http.connection.request import GatewayRequest
from openclaw.sharing.shared import Claim, Lasts

KEY_HEADER = "Idempotency-Key"
RETRY_HEADER = "x-stainless-retry-count"
DISCONNECT_HEADER = "x-openclaw-on-disconnect"
TIMEOUT_HEADER = "x-stainless-timeout"
READ_TIMEOUT_HEADER = "x-stainless-read-timeout"

MIN_TIMEOUT_S = 1.0
"""Shortest time limit of a client that can be told from a stop, in seconds."""

TIMEOUT_SLACK_S = 0.5
"""How far from its time limit a client may leave, earlier or later, in seconds."""

_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_COUNT = re.compile(rb"[0-9]{1,9}")
_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


@attrs.frozen
class Repeating:
    """
    What the headers say.

    @ivar key: the C{Idempotency-Key}.
    @ivar retry_count: how often the client's library has sent this request before; C{None} if it does not say.
    @ivar goes_on: whether the run is to go on when its client leaves; C{None} if the client does not say.
    """

    key: str | None = None
    retry_count: int | None = None
    goes_on: bool | None = None

    @property
    def can_meet_another(self) -> bool:
        """Whether the request may be answered by the run of another one, so that its fingerprint is needed."""
        return self.key is not None or self.retry_count is not None or bool(self.goes_on)

    def claim(self, route: bytes, plan: RunPlan, body: bytes) -> Claim:
        """
        What the run of this request may be shared for.

        @param route: the path.
        @param body: digest of the body; empty where the request L{can_meet_another} not.
        @raise InvalidRequest: if the run is to go on in a session that its client cannot come back to.
        """
        if self.goes_on and self.key is None and not plan.target.is_stable:
            raise InvalidRequest(
                f"{DISCONNECT_HEADER}: continue needs a session, such as x-openclaw-session-key or user gives",
                param=DISCONNECT_HEADER,
            )
        goes_on = self.goes_on if self.goes_on is not None else self.key is not None
        lasts: Lasts = "alone" if goes_on else "client"
        digest = fingerprint(route, plan, body) if self.can_meet_another else None
        return Claim(digest, self.key, bool(self.retry_count), lasts)


def read_repeating(request: GatewayRequest) -> Repeating | None:
    """Read the headers; C{None} if they say nothing, as most do; L{InvalidRequest} if they cannot be followed."""
    headers = request.requestHeaders
    keys = headers.getRawHeaders(KEY_HEADER.encode())
    counts = headers.getRawHeaders(RETRY_HEADER.encode())
    wishes = headers.getRawHeaders(DISCONNECT_HEADER.encode())
    if keys is None and counts is None and wishes is None:
        return None
    key = _only(keys, KEY_HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest(f"{KEY_HEADER}: 1 to 255 visible ASCII characters", param=KEY_HEADER)
    wish = _only(wishes, DISCONNECT_HEADER)
    if wish is not None and wish.lower() not in (b"cancel", b"continue"):
        raise InvalidRequest(f"{DISCONNECT_HEADER}: cancel or continue", param=DISCONNECT_HEADER)
    # A library's own count is no reason to refuse anything.
    count = int(counts[0]) if counts is not None and len(counts) == 1 and _COUNT.fullmatch(counts[0]) else None
    goes_on = None if wish is None else wish.lower() == b"continue"
    if key is None and count is None and not goes_on:
        return None
    return Repeating(None if key is None else key.decode(), count, goes_on)


def is_timeout(request: GatewayRequest, now_s: float) -> bool:
    """
    Whether a client that leaves now does so because a time limit is over that it has announced; else it pressed stop.

    @param now_s: on the clock of the request's own times.
    """
    headers = request.requestHeaders
    if [wish.lower() for wish in headers.getRawHeaders(DISCONNECT_HEADER.encode(), ())] == [b"cancel"]:
        return False
    # openai-node counts from the beginning, openai-python from what it was sent last.
    limits = ((TIMEOUT_HEADER, request.began_s), (READ_TIMEOUT_HEADER, max(request.received_s, request.sent_s)))
    for name, since_s in limits:
        values = headers.getRawHeaders(name.encode(), ())
        if len(values) == 1 and _SECONDS.fullmatch(values[0]):
            limit_s = float(values[0])
            if limit_s >= MIN_TIMEOUT_S and abs(now_s - since_s - limit_s) <= TIMEOUT_SLACK_S:
                return True
    return False


def _only(values: Sequence[bytes] | None, name: str) -> bytes | None:
    if values is not None and len(values) > 1:
        raise InvalidRequest(f"{name} was sent more than once", param=name)
    return None if values is None else values[0]


def fingerprint(route: bytes, plan: RunPlan, body: bytes) -> bytes:
    """The digest of all that makes up a request: equal for a repetition only.  C{body} is the raw body's."""
    caller, target = plan.caller, plan.target
    session = plan.session_key if target.is_stable else ""
    override = (plan.request.selection.model_override or "").strip()
    texts = (caller.name, target.agent_id, session, override, *sorted(caller.scopes))
    digest = sha256()
    for part in (route, body, *(text.encode() for text in texts)):
        # With its length, so that no two lists of parts give the same bytes.
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def body_digest(body: bytes) -> bytes:
    """The digest of a raw body; some 20 ms for the largest one."""
    return sha256(body).digest()
