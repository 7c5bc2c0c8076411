"""Tests of L{openclaw.http.idempotency}."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import attrs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw.agents.plan import RunPlan
from openclaw.agents.request import Asked, RunRequest
from openclaw.agents.resolve import Selection, Target
from openclaw.errors import InvalidRequest
from openclaw.http.connection.request import GatewayRequest
from openclaw.http.idempotency import Repeating, body_digest, fingerprint, is_timeout, read_repeating
from openclaw.ids import SessionKey
from openclaw.interfaces import Caller
from openclaw.messages import Message
from openclaw.sharing.shared import Claim

CALLER = Caller("operator", frozenset({"operator.read", "operator.write"}), "127.0.0.1")
STABLE = Target("main", SessionKey("main", "k"), "key", "local/m")
FRESH = Target("main", SessionKey("main", "openai:1"), "fresh", "local/m")
ROUTE = b"/v1/chat/completions"


def read(*headers: tuple[str, str]) -> Repeating | None:
    made = Headers()
    for name, value in headers:
        made.addRawHeader(name, value)
    return read_repeating(cast(GatewayRequest, SimpleNamespace(requestHeaders=made)))


class TimeoutTests(SynchronousTestCase):
    """A client that leaves at the age that it announced has not pressed stop."""

    def left(self, now_s: float, *headers: tuple[str, str], **times: float) -> bool:
        made = Headers()
        for name, value in headers:
            made.addRawHeader(name, value)
        given = {"began_s": 100.0, "received_s": 100.0, "sent_s": 0.0, **times}
        return is_timeout(cast(GatewayRequest, SimpleNamespace(requestHeaders=made, **given)), now_s)

    def test_from_the_beginning(self) -> None:
        six = ("x-stainless-timeout", "6")
        for now_s, is_one in ((105.4, False), (105.5, True), (106.0, True), (106.5, True), (106.6, False)):
            self.assertEqual(is_one, self.left(now_s, six, received_s=104.0, sent_s=105.0), now_s)

    def test_from_what_was_sent_last(self) -> None:
        six = ("x-stainless-read-timeout", "6.0")
        self.assertTrue(self.left(106.0, six))
        self.assertTrue(self.left(107.0, six, received_s=101.0))
        self.assertTrue(self.left(136.0, six, sent_s=130.0))
        self.assertFalse(self.left(106.0, six, sent_s=103.0))

    def test_what_says_nothing(self) -> None:
        for value in ("0.5", "-6", "NaN", "inf", "6s", "", "1e1"):
            self.assertFalse(self.left(100.5, ("x-stainless-timeout", value)), value)
            self.assertFalse(self.left(106.0, ("x-stainless-timeout", value)), value)
        self.assertFalse(self.left(106.0))
        self.assertFalse(self.left(106.0, ("x-stainless-timeout", "6"), ("x-stainless-timeout", "6")))
        self.assertTrue(self.left(101.0, ("x-stainless-timeout", "1")))

    def test_who_wants_it_to_end(self) -> None:
        six = ("x-stainless-timeout", "6")
        self.assertFalse(self.left(106.0, six, ("x-openclaw-on-disconnect", "Cancel")))


class ReadTests(SynchronousTestCase):
    def test_nothing_said(self) -> None:
        self.assertIsNone(read())
        self.assertIsNone(read(("x-openclaw-on-disconnect", "cancel")))
        self.assertIsNone(read(("x-stainless-retry-count", "many")))

    def test_key(self) -> None:
        for key in ("k", "!~", '"quoted"', "k" * 255):
            self.assertEqual(read(("idempotency-key", key)), Repeating(key))

    def test_bad_key(self) -> None:
        for key in ("", "k" * 256, "a b", "é", "\x7f"):
            error = self.assertRaises(InvalidRequest, read, ("Idempotency-Key", key))
            self.assertEqual(error.param, "Idempotency-Key")
            self.assertIn("Idempotency-Key", error.message)

    def test_repeated_headers(self) -> None:
        for name, value in (("Idempotency-Key", "k"), ("x-openclaw-on-disconnect", "cancel")):
            error = self.assertRaises(InvalidRequest, read, (name, value), (name, value))
            self.assertEqual((error.param, error.message), (name, f"{name} was sent more than once"))

    def test_retry_count(self) -> None:
        for text, count in (("0", 0), ("1", 1), ("12", 12)):
            self.assertEqual(read(("X-Stainless-Retry-Count", text)), Repeating(retry_count=count))
        for text in ("", "-1", "1.0", "x", "9" * 30):
            self.assertIsNone(read(("X-Stainless-Retry-Count", text)))
        self.assertIsNone(read(("X-Stainless-Retry-Count", "1"), ("X-Stainless-Retry-Count", "2")))

    def test_on_disconnect(self) -> None:
        self.assertEqual(read(("X-OpenClaw-On-Disconnect", "Continue")), Repeating(goes_on=True))
        both = read(("Idempotency-Key", "k"), ("X-OpenClaw-On-Disconnect", "cancel"))
        self.assertEqual(both, Repeating("k", goes_on=False))
        for text in ("", "stay", "continue, cancel"):
            error = self.assertRaises(InvalidRequest, read, ("x-openclaw-on-disconnect", text))
            self.assertEqual(error.param, "x-openclaw-on-disconnect")


def planned(caller: Caller = CALLER, target: Target = STABLE, model_override: str | None = None) -> RunPlan:
    asked = Asked((Message("user", "hi"),))
    request = RunRequest("r1", Selection(model_override=model_override), asked, 0.0)
    return RunPlan(caller, request, target, (), "", None)


class ClaimTests(SynchronousTestCase):
    digest = fingerprint(ROUTE, planned(), b"body")

    def claim(self, repeating: Repeating, target: Target = STABLE) -> Claim:
        return repeating.claim(ROUTE, planned(target=target), b"body")

    def test_claims(self) -> None:
        for repeating, claim in (
            (Repeating("k"), Claim(self.digest, "k", lasts="alone")),
            (Repeating("k", 2), Claim(self.digest, "k", is_retry=True, lasts="alone")),
            (Repeating("k", goes_on=False), Claim(self.digest, "k")),
            (Repeating(retry_count=0), Claim(self.digest)),
            (Repeating(retry_count=1), Claim(self.digest, is_retry=True)),
            (Repeating(retry_count=1, goes_on=True), Claim(self.digest, is_retry=True, lasts="alone")),
            (Repeating(goes_on=True), Claim(self.digest, lasts="alone")),
        ):
            self.assertEqual(self.claim(repeating), claim)

    def test_going_on_needs_a_session(self) -> None:
        for repeating in (Repeating(goes_on=True), Repeating(retry_count=1, goes_on=True)):
            error = self.assertRaises(InvalidRequest, self.claim, repeating, FRESH)
            self.assertEqual(error.param, "x-openclaw-on-disconnect")
        # With a key it can be come back to.
        self.assertEqual("alone", self.claim(Repeating("k", goes_on=True), FRESH).lasts)


class FingerprintTests(SynchronousTestCase):
    def print(self, **changes: Any) -> bytes:
        route, body = changes.pop("route", ROUTE), changes.pop("body", b"x")
        return fingerprint(route, planned(**changes), body)

    def test_what_counts(self) -> None:
        prints = {
            self.print(),
            self.print(caller=attrs.evolve(CALLER, name="key:phone")),
            self.print(caller=attrs.evolve(CALLER, scopes=frozenset({"operator.write"}))),
            self.print(route=b"/v1/responses"),
            self.print(target=attrs.evolve(STABLE, agent_id="other")),
            self.print(target=attrs.evolve(STABLE, session_key=SessionKey("main", "K"))),
            self.print(target=FRESH),
            self.print(model_override="a/b"),
            self.print(body=b"y"),
        }
        self.assertEqual(len(prints), 9)
        self.assertEqual({len(digest) for digest in prints}, {32})

    def test_what_does_not(self) -> None:
        for changes in (
            {"caller": attrs.evolve(CALLER, address="10.0.0.1")},
            {"caller": attrs.evolve(CALLER, scopes=frozenset({"operator.write", "operator.read"}))},
            # The configuration may have changed meanwhile.
            {"target": attrs.evolve(STABLE, model_ref="other/m")},
            {"model_override": ""},
        ):
            self.assertEqual(self.print(**changes), self.print())
        # Each fresh session has a name of its own.
        other = attrs.evolve(FRESH, session_key=SessionKey("main", "openai:2"))
        self.assertEqual(self.print(target=FRESH), self.print(target=other))

    def test_parts_do_not_run_into_one_another(self) -> None:
        self.assertNotEqual(self.print(route=b"ab", body=b"c"), self.print(route=b"a", body=b"bc"))

    def test_body(self) -> None:
        self.assertEqual(len(body_digest(b"")), 32)
        self.assertNotEqual(body_digest(b'{"a":1}'), body_digest(b'{"a": 1}'))
