"""Tests of L{openclaw.http.openai.chat}: requests sent more than once, and clients that leave while a run goes on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from openclaw.errors import ProviderFailed, ProviderRejected
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.http import idempotency
from openclaw.http.connection import delivery as delivery_module
from openclaw.messages import Usage
from openclaw.sharing.lingering import LINGER_S, MAX_LINGERING
from openclaw.sharing.shared import ALONE_S
from test.gateway import START_S
from test.http.support import Answer, Client, GatewayTestCase, make_config

STOP = ProviderFinished("stop")
KEY = "Idempotency-Key: k1"
RETRY = "x-stainless-retry-count: 1"
FIRST = "x-stainless-retry-count: 0"
CONTINUE = "x-openclaw-on-disconnect: continue"


class JoinTestCase(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(self.joins.stop())))

    def begin(self, *headers: str, **body: Any) -> Client:
        client = self.connect()
        client.chat(*headers, **body)
        self.tick()
        return client

    def push(self, *events: Any) -> None:
        self.stream.push(*events)
        self.tick()

    def end(self, *events: Any) -> None:
        self.stream.push(*events, STOP)
        self.stream.end()
        self.tick()

    def stored(self, key: str) -> list[str]:
        entries = self.successResultOf(self.store.branch(key))
        return [entry.message.text for entry in entries]


class KeyTests(JoinTestCase):
    def check_same(self, first: Answer, second: Answer) -> None:
        for name in ("x-openclaw-run-id", "x-openclaw-session-key", "content-type"):
            self.assertEqual(first.headers[name], second.headers[name])
        self.assertEqual((first.status, second.status), (200, 200))

    def test_replay(self) -> None:
        usage = ProviderUsage(Usage(10, 5, 4, 2))
        for restarts in (False, True):
            self.provider.enqueue([ReasoningDelta("hm"), TextDelta(" hel")], [TextDelta("lo"), STOP, usage])
            self.config = make_config(reasoning=True)
            key = f"Idempotency-Key: {restarts}"
            first = self.ask_chat(key)
            self.clock.advance(10)
            if restarts:
                self.build_site()
            second = self.ask_chat(key)
            self.check_same(first, second)
            self.assertEqual(first.body, second.body)
            self.assertEqual(first.json["created"], int(START_S) + 10 * restarts)
            self.assertNotIn("idempotency-replayed", first.headers)
            self.assertIn("server-timing", first.headers)
            self.assertEqual(second.headers["idempotency-replayed"], "true")
            self.assertNotIn("server-timing", second.headers)
        self.assertEqual(len(self.provider.requests), 2)

    def test_stream_replay(self) -> None:
        call = ToolCallDelta(0, "c1", "f", '{"a"')
        self.provider.enqueue(
            [TextDelta("hel")], [TextDelta("lo"), call], [ToolCallDelta(0, None, None, ":1}")], [STOP]
        )
        body = {"stream": True, "stream_options": {"include_usage": True}}
        first, second = self.ask_chat(KEY, **body), self.ask_chat(KEY, **body)
        self.check_same(first, second)
        self.assertEqual(second.headers["idempotency-replayed"], "true")
        self.assertNotIn("server-timing", second.headers)
        self.assertEqual(len(self.provider.requests), 1)
        for answer in (first, second):
            self.assertTrue(answer.whole)
            *chunks, usage, done = answer.events
            self.assertEqual((done, usage["choices"]), ("[DONE]", []))
            deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
            self.assertEqual("".join(delta.get("content", "") for delta in deltas), "hello")
            pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
            self.assertEqual("".join(piece["function"]["arguments"] for piece in pieces), '{"a":1}')
            self.assertEqual((pieces[0]["id"], pieces[0]["function"]["name"]), ("c1", "f"))
            self.assertEqual([chunk["choices"][0]["finish_reason"] for chunk in chunks][-1], "stop")
        self.assertEqual(first.events[-2]["usage"], second.events[-2]["usage"])
        self.assertEqual(
            {(chunk["id"], chunk["created"]) for chunk in first.events[:-1]},
            {(chunk["id"], chunk["created"]) for chunk in second.events[:-1]},
        )

    def test_join(self) -> None:
        first = self.begin(KEY)
        self.push(TextDelta("hel"))
        second = self.begin(KEY)
        self.end(TextDelta("lo"))
        self.assertEqual(first.answer().body, second.answer().body)
        self.check_same(first.answer(), second.answer())
        self.assertNotIn("idempotency-replayed", second.answer().headers)
        self.assertEqual(len(self.provider.requests), 1)

    def test_stream_join(self) -> None:
        first = self.begin(KEY, stream=True)
        self.push(TextDelta("a"))
        self.push(TextDelta("b"))
        self.push(TextDelta("c"))
        second = self.begin(KEY, stream=True)
        for text in ("d", "e"):
            self.push(TextDelta(text))
        self.end()
        texts = []
        for client in (first, second):
            answer = client.answer()
            self.assertEqual((answer.whole, answer.events[-1]), (True, "[DONE]"))
            texts.append("".join(chunk["choices"][0]["delta"].get("content", "") for chunk in answer.events[:-1]))
        self.assertEqual(texts, ["abcde", "abcde"])
        self.check_same(first.answer(), second.answer())

    def test_join_before_the_first_word(self) -> None:
        first = self.begin(KEY, stream=True)
        self.wait(0.9)
        second = self.begin(KEY, stream=True)
        self.wait(0.2)
        self.assertEqual((first.answer().status, second.output), (200, b""))
        self.wait(1)
        self.assertEqual(second.answer().events[0]["id"], first.answer().events[0]["id"])
        self.end(TextDelta("x"))
        self.assertEqual(second.answer().events[-1], "[DONE]")

    def test_head_of_one_that_had_to_wait_for_its_key(self) -> None:
        claimed: Deferred[None] = Deferred()
        self.patch(self.store, "claim_key", lambda claim: claimed)
        client = self.begin(KEY, stream=True)
        self.wait(0.75)
        claimed.callback(None)
        self.assertEqual(client.output, b"")
        # A second after the request was complete, whatever it has waited for.
        self.wait(0.25)
        self.assertEqual(client.answer().status, 200)
        self.end(TextDelta("hi"))

    def test_conflict(self) -> None:
        first = self.begin(KEY, messages=[{"role": "user", "content": "one"}])
        for _ in range(2):
            answer = self.ask_chat(KEY, messages=[{"role": "user", "content": "two"}])
            self.assertEqual((answer.status, answer.error["code"]), (422, "idempotency_conflict"))
            self.assertEqual(answer.error["type"], "invalid_request_error")
            self.assertEqual(answer.headers["x-should-retry"], "false")
            if not first.output:
                self.end(TextDelta("x"))
        self.assertEqual(len(self.provider.requests), 1)

    def test_other_session_is_another_request(self) -> None:
        self.provider.enqueue_text("x")
        self.ask_chat(KEY, "x-openclaw-session-key: a")
        self.assertEqual(self.ask_chat(KEY, "x-openclaw-session-key: b").status, 422)

    def test_bad_headers(self) -> None:
        for headers, param in (
            (("Idempotency-Key: " + "k" * 256,), "Idempotency-Key"),
            ((KEY, KEY), "Idempotency-Key"),
            (("x-openclaw-on-disconnect: maybe",), "x-openclaw-on-disconnect"),
            ((CONTINUE,), "x-openclaw-on-disconnect"),
        ):
            answer = self.ask_chat(*headers)
            self.assertEqual((answer.status, answer.error["param"]), (400, param))
        self.assertEqual(self.provider.requests, [])

    def test_final_error(self) -> None:
        for stream in (False, True):
            key = f"Idempotency-Key: {stream}"
            self.provider.enqueue(ProviderRejected("422 no", status=422, code="bad", param="x"))
            answers = [self.ask_chat(key, stream=stream) for _ in range(2)]
            self.assertEqual([answer.status for answer in answers], [422, 422])
            self.assertEqual(answers[0].error, answers[1].error)
            self.assertEqual(answers[1].headers["idempotency-replayed"], "true")
            self.assertEqual(answers[0].headers["x-openclaw-run-id"], answers[1].headers["x-openclaw-run-id"])
        self.assertEqual(len(self.provider.requests), 2)

    def test_passing_error(self) -> None:
        self.provider.enqueue([TextDelta("x")], ProviderFailed("gone"))
        self.assertEqual(self.ask_chat(KEY, user="u").status, 502)
        self.provider.enqueue_text("answer")
        answer = self.ask_chat(KEY, user="u")
        self.assertEqual((answer.status, answer.json["choices"][0]["message"]["content"]), (200, "answer"))
        self.assertNotIn("idempotency-replayed", answer.headers)

    def test_error_amid_a_joined_stream(self) -> None:
        first = self.begin(KEY, stream=True)
        self.push(TextDelta("x"))
        second = self.begin(KEY, stream=True)
        self.stream.fail(ProviderFailed("gone"))
        self.tick()
        for client in (first, second):
            *_, error, done = client.answer().events
            self.assertEqual((error["error"]["code"], done), ("provider_error", "[DONE]"))

    def test_client_leaves_and_comes_back(self) -> None:
        for stream in (False, True):
            key = f"Idempotency-Key: {stream}"
            client = self.begin(key, stream=stream)
            self.push(TextDelta("hel"))
            client.leave()
            self.tick()
            self.assertFalse(self.stream.aborted)
            again = self.begin(key, stream=stream)
            self.end(TextDelta("lo"))
            answer = again.answer()
            self.assertEqual(answer.status, 200)
            self.assertIn(b"hel", answer.body)
            self.assertNotIn("idempotency-replayed", answer.headers)

    def test_client_that_does_not_come_back(self) -> None:
        client = self.begin(KEY, stream=True)
        self.push(TextDelta("hel"))
        client.leave()
        self.wait(1)
        self.clock.advance(ALONE_S)
        self.tick()
        self.assertTrue(self.stream.aborted)

    def test_turn_is_stored_once(self) -> None:
        self.provider.enqueue_text("one")
        for _ in range(2):
            self.ask_chat(KEY, user="u", messages=[{"role": "user", "content": "only"}])
        self.assertEqual(self.stored("agent:main:openai-user:u"), ["only", "one"])


class TimeoutTests(JoinTestCase):
    """A client that leaves at the very age that it announced comes again."""

    LIMIT = "x-stainless-timeout: 6"

    def leave_after(self, seconds: float, *headers: str, **body: Any) -> None:
        client = self.begin(FIRST, self.LIMIT, *headers, **body)
        self.clock.advance(seconds)
        client.leave()
        self.wait(0)

    def test_the_retry_joins_the_run(self) -> None:
        for body in ({}, {"stream": True}, {"user": "u"}):
            before = len(self.provider.requests)
            self.leave_after(6.2, **body)
            self.clock.advance(LINGER_S - 1)
            again = self.begin(RETRY, self.LIMIT, **body)
            self.assertFalse(self.stream.aborted)
            self.clock.advance(LINGER_S)
            self.end(TextDelta("hello"))
            self.assertEqual(200, again.answer().status)
            self.assertEqual(before + 1, len(self.provider.requests))

    def test_nobody_comes(self) -> None:
        self.leave_after(6)
        self.clock.advance(LINGER_S - 0.1)
        self.assertFalse(self.stream.aborted)
        self.clock.advance(0.1)
        self.tick()
        self.assertTrue(self.stream.aborted)

    def test_a_stop_is_a_stop(self) -> None:
        for seconds in (0.5, 5.4, 6.6):
            self.leave_after(seconds)
            self.assertTrue(self.stream.aborted)

    def test_the_answer_waits_for_the_retry(self) -> None:
        self.leave_after(6)
        self.end(TextDelta("hello"))
        self.clock.advance(60)
        self.assertEqual("true", self.ask_chat(RETRY, self.LIMIT).headers["idempotency-replayed"])

    def test_no_more_than_so_many(self) -> None:
        def begin(header: str, number: int) -> Client:
            return self.begin(header, self.LIMIT, messages=[{"role": "user", "content": str(number)}])

        clients = [begin(FIRST, number) for number in range(MAX_LINGERING + 2)]
        self.clock.advance(6)
        for client in clients[:-1]:
            client.leave()
        self.wait(0)
        self.assertEqual([MAX_LINGERING], [n for n, stream in enumerate(self.provider.streams) if stream.aborted])
        # One that has a client again makes room.
        begin(RETRY, 0)
        clients[-1].leave()
        self.wait(0)
        self.assertFalse(self.stream.aborted)
        self.clock.advance(LINGER_S)
        self.tick()
        aborted = [n for n, stream in enumerate(self.provider.streams) if stream.aborted]
        self.assertEqual(list(range(1, MAX_LINGERING + 2)), aborted)
        self.assertTrue(self.joins._lingering.is_empty)


class DeliveryTests(JoinTestCase):
    """An answer that has reached its client is not told again for a retry."""

    def test_a_retry_on_the_same_connection(self) -> None:
        for stream in (False, True):
            client = self.begin(FIRST, user="u", stream=stream)
            self.end(TextDelta("one"))
            client.answer()
            client.chat(RETRY, user="u", stream=stream)
            self.tick()
            self.end(TextDelta("two"))
            self.assertIn(b"two", client.answers()[-1].body)
        self.assertEqual(8, len(self.stored("agent:main:openai-user:u")))

    def test_where_nobody_can_tell(self) -> None:
        self.provider.enqueue_text("one")
        self.ask_chat(FIRST)
        self.assertEqual("true", self.ask_chat(RETRY).headers["idempotency-replayed"])

    def test_what_the_kernel_says(self) -> None:
        for acknowledged in (True, False):
            said = {"content": f"a{acknowledged}", "role": "user"}
            self.patch(delivery_module, "is_acknowledged", lambda _, known=acknowledged: known)
            self.provider.enqueue_text("one")
            self.ask_chat(FIRST, messages=[said])
            self.provider.enqueue_text("two")
            again = self.ask_chat(RETRY, messages=[said])
            self.assertEqual(not acknowledged, "idempotency-replayed" in again.headers)
            self.provider.enqueue_text("three")

    def test_a_key_is_told_all_the_same(self) -> None:
        self.patch(delivery_module, "is_acknowledged", lambda _: True)
        self.provider.enqueue_text("one")
        self.ask_chat(KEY)
        self.assertEqual("true", self.ask_chat(KEY).headers["idempotency-replayed"])

    def test_an_answer_that_was_cut_off(self) -> None:
        self.patch(delivery_module, "is_acknowledged", lambda _: True)
        first, second = (self.begin(header, stream=True) for header in (FIRST, RETRY))
        self.push(TextDelta("on"))
        first.leave()
        second.leave()
        self.tick()
        self.assertTrue(self.stream.aborted)


class SlowReaderTests(JoinTestCase):
    def test_slow_client_pauses_the_provider(self) -> None:
        client = self.begin(FIRST, stream=True)
        self.push(TextDelta("x"))
        producer = client.transport.producer
        producer.pauseProducing()
        for _ in range(20):
            self.push(TextDelta("y" * 1000))
        self.assertLess(self.stream.taken, 5)
        producer.resumeProducing()
        self.tick()
        self.assertEqual(self.stream.taken, 21)
        self.end()
        self.assertEqual(client.answer().events[-1], "[DONE]")

    def test_slow_joiner_does_not_hold_the_others_up(self) -> None:
        slow, quick = self.begin(KEY, stream=True), self.begin(KEY, stream=True)
        self.push(TextDelta("x"))
        slow.transport.producer.pauseProducing()
        for _ in range(20):
            self.push(TextDelta("y" * 1000))
        self.end()
        self.assertEqual(quick.answer().events[-1], "[DONE]")
        self.assertNotIn("[DONE]", slow.answer().events)
        slow.transport.producer.resumeProducing()
        self.tick()
        self.assertEqual(slow.answer().events[-1], "[DONE]")


class StainlessTests(JoinTestCase):
    def test_replay(self) -> None:
        self.provider.enqueue_text("answer")
        first, second = self.ask_chat(FIRST), self.ask_chat(RETRY)
        self.assertEqual(first.body, second.body)
        self.assertEqual(second.headers["idempotency-replayed"], "true")
        self.assertEqual(len(self.provider.requests), 1)

    def test_first_one_that_did_not_count(self) -> None:
        """In a session, a request is known again although only its retry says what it is."""
        self.provider.enqueue([TextDelta("hello"), STOP])
        session = "x-openclaw-session-key: s"
        first, second = self.ask_chat(session), self.ask_chat(session, RETRY)
        self.assertEqual(first.json["id"], second.json["id"])
        self.assertEqual(len(self.provider.requests), 1)
        self.assertEqual(len(self.stored("agent:main:s")), 2)

    def test_retry_of_a_cancelled_one(self) -> None:
        client = self.begin(FIRST, user="u", messages=[{"role": "user", "content": "once"}])
        self.push(TextDelta("hal"))
        client.leave()
        self.tick()
        self.assertTrue(self.stream.aborted)
        self.provider.enqueue_text("answer")
        answer = self.ask_chat(RETRY, user="u", messages=[{"role": "user", "content": "once"}])
        self.assertNotIn("idempotency-replayed", answer.headers)
        self.assertEqual(self.stored("agent:main:openai-user:u"), ["once", "answer"])

    def test_other_body_is_another_request(self) -> None:
        for text in ("one", "two"):
            self.provider.enqueue_text(text)
        self.ask_chat(FIRST, user="a")
        self.assertEqual(self.ask_chat(RETRY, user="b").json["choices"][0]["message"]["content"], "two")


class ContinueTests(JoinTestCase):
    def test_goes_on(self) -> None:
        client = self.begin(CONTINUE, user="u", messages=[{"role": "user", "content": "go"}])
        self.push(TextDelta("hel"))
        client.leave()
        self.tick()
        self.assertFalse(self.stream.aborted)
        self.end(TextDelta("lo"))
        self.assertEqual(self.stored("agent:main:openai-user:u"), ["go", "hello"])


class DirectTests(JoinTestCase):
    def test_plain_requests_take_the_direct_way(self) -> None:
        self.patch(idempotency, "sha256", lambda *_: 1 / 0)
        for headers in ((), ("x-openclaw-on-disconnect: cancel",)):
            self.provider.enqueue_text("x")
            self.assertEqual(self.ask_chat(*headers).status, 200)
        self.assertTrue(self.joins.is_empty)
