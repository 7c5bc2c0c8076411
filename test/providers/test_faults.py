"""
What a faulty model server does to a run, and not to another one: each fault through the real HTTP client.

Time is the reactor's in memory.  C{timeoutSeconds} is 6 here; without it a server that says nothing has 120 s, and
300 s if it is in this network: see L{DefaultDeadlineTests}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.error import ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents import answer as answer_module
from openclaw.agents.request import Asked, RunRequest
from openclaw.agents.resolve import Selection
from openclaw.agents.runs import Runs
from openclaw.config.agents import AgentEntry, AgentsConfig, ModelChoice
from openclaw.config.models import ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderModelUnknown,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    RunTimeout,
    TransientProviderTimeout,
)
from openclaw.events import RunFinished
from openclaw.providers import openai_completions as openai_completions_module
from openclaw.providers import sse as sse_module
from openclaw.providers.http import make_agent, make_http_client
from openclaw.providers.registry import Catalog
from openclaw.store.store import GatewayStore
from test.fakes import OPERATOR, Started, user
from test.providers.http_fakes import DONE, Peer, chunk, event, text

FAULTY_PORT, SOUND_PORT = 8000, 9000
STEP_S = 0.25
LONGEST_S = 20.0

Fault = Callable[["FaultTestCase", Peer], None]
"""What the faulty server does with a connection, once the request is there."""


class FaultTestCase(SynchronousTestCase):
    """A faulty server, and a sound one that another run is talking to all the time."""

    scheme = "http"
    timeout_seconds: float | None = 6.0

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(1_000_000)
        self.config = Config(
            models=ModelsConfig(
                providers={
                    "faulty": ProviderConfig(
                        base_url=f"{self.scheme}://127.0.0.1:{FAULTY_PORT}/v1", timeout_seconds=self.timeout_seconds
                    ),
                    "sound": ProviderConfig(base_url=f"http://127.0.0.1:{SOUND_PORT}/v1"),
                }
            ),
            agents=AgentsConfig(
                entries={
                    "main": AgentEntry(model=ModelChoice("faulty/m"), default=True),
                    "other": AgentEntry(model=ModelChoice("sound/m")),
                }
            ),
        )
        http_client = make_http_client(make_agent(self.reactor))
        catalog = Catalog(lambda: self.config, http_client, self.reactor, None)
        self.runs = Runs(lambda: self.config, catalog, GatewayStore.in_memory(), self.reactor, random=lambda: 0.0)
        self._accepted = 0
        self._count = 0
        self.requests = 0
        self.peers: list[Peer] = []

    def start(self, agent_id: str) -> Started:
        """Start a run of an agent in a stored session."""
        self._count += 1
        request = RunRequest(
            run_id=f"chatcmpl_{self._count}",
            selection=Selection(agent_id=agent_id, session_key="k"),
            asked=Asked((user("hi"),)),
            received_s=self.reactor.seconds(),
        )
        return Started(self.runs.start(self.runs.plan(OPERATOR, request)), read=True)

    def new_connections(self) -> list[tuple[int, Any]]:
        """The ports and factories of the connections that are being made."""
        new = self.reactor.tcpClients[self._accepted :]
        self._accepted += len(new)
        return [(port, factory) for _, port, factory, *_ in new]

    def meet(self, fault: Fault, *, refuse: bool = False, each: Fault | None = None) -> Started:
        """
        Start a run whose server has a fault; it must be over in time, and another run not be disturbed.

        @param refuse: the server takes no connection at all.
        @param each: what the server does further at every step of the time.
        """
        other = self.start("other")
        [(port, factory)] = self.new_connections()
        self.assertEqual(SOUND_PORT, port)
        sound = Peer(self.reactor, factory)
        sound.request()
        sound.head()
        sound.events(text("be"))
        faulty, began_s = self.start("main"), self.reactor.seconds()
        while faulty.outcome is None and self.reactor.seconds() - began_s <= LONGEST_S:
            for port, factory in self.new_connections():
                self.assertEqual(FAULTY_PORT, port)
                if refuse:
                    self.requests += 1
                    factory.clientConnectionFailed(None, Failure(Refused()))
                else:
                    self.peers.append(Peer(self.reactor, factory))
            for peer in self.peers:
                # A connection whose answer was whole may bring another request.
                if peer.wire.value() and not (peer.wire.aborted or peer.wire.lost):
                    if self.scheme == "https":
                        # A greeting of TLS, most of it random.
                        peer.wire.clear()
                    else:
                        peer.request()
                    self.requests += 1
                    fault(self, peer)
            if each is not None and faulty.outcome is None:
                each(self, self.peers[-1])
            self.reactor.advance(STEP_S)
        self.assertIsNotNone(faulty.outcome, "the run is not over in time")
        sound.events(text("fore"), text(" and after"))
        sound.events(chunk(finish="stop"), b"[DONE]", end=True)
        self.assertIsInstance(other.end(), RunFinished)
        assert other.outcome is not None
        self.assertEqual("before and after", other.outcome.text)
        self.reactor.advance(10)
        self.assertEqual([], self.reactor.getDelayedCalls(), "timers left")
        return faulty

    def failing(
        self,
        kind: type[OpenClawError],
        status: int,
        fault: Fault,
        *,
        attempts: int = 1,
        told: str = "",
        **settings: Any,
    ) -> OpenClawError:
        """
        The same for a run that fails.

        @param kind: the very class of its error.
        @param status: the HTTP status that it is answered with.
        @param attempts: how many requests were made, or connections where none is taken.
        @param told: the text that was told before.
        """
        run = self.meet(fault, **settings)
        error = run.failed()
        self.assertEqual((kind, status, attempts), (type(error), error.http_status, self.requests), error.message)
        assert run.reader is not None
        self.assertEqual((told, bool(told)), (run.reader.text, run.end().produced_output))  # type: ignore[union-attr]
        for peer in self.peers:
            # A server that has kept HTTP's rules may keep its connection.
            self.assertTrue(peer.wire.lost or not peer.wire.aborted)
        return error

    def answering(self, answer: str, fault: Fault, **settings: Any) -> None:
        """The same for a run that gets its answer all the same."""
        run = self.meet(fault, **settings)
        self.assertIsInstance(run.end(), RunFinished)
        assert run.reader is not None
        self.assertEqual(answer, run.reader.text)


def nothing(case: FaultTestCase, peer: Peer) -> None:
    """The server takes the request and says nothing."""


def sending(*pieces: bytes, end: bool = False, **head: Any) -> Fault:
    """A fault: a head of status 200, and these pieces of a body."""

    def fault(case: FaultTestCase, peer: Peer) -> None:
        peer.head(200, **head)
        if pieces or end:
            peer.chunks(*pieces, end=end)

    return fault


def answering_with(status: int, body: bytes = b'{"error": {"message": "why"}}', **fields: str) -> Fault:
    """A fault: a whole answer."""
    return lambda case, peer: peer.answer(status, body, **fields)


class ConnectionTests(FaultTestCase):
    def test_refused(self) -> None:
        error = self.failing(ProviderFailed, 502, nothing, refuse=True, attempts=3)
        self.assertEqual("the provider faulty could not be reached: connection refused", error.message)

    def test_no_connection(self) -> None:
        """A host that does not answer has 5 s for each of three attempts."""
        run = self.start("main")
        while run.outcome is None:
            self.reactor.advance(STEP_S)
        self.assertIs(TransientProviderTimeout, type(run.failed()))
        self.assertEqual((504, 3), (run.failed().http_status, len(self.reactor.tcpClients)))
        self.assertLessEqual(self.reactor.seconds(), 1_000_000 + LONGEST_S)

    def test_reset_before_the_first_byte(self) -> None:
        error = self.failing(ProviderFailed, 502, lambda case, peer: peer.close(ConnectionLost()), attempts=3)
        self.assertIn("without an answer", error.message)

    def test_reset_after_the_head(self) -> None:
        def fault(case: FaultTestCase, peer: Peer) -> None:
            peer.head()
            peer.close(ConnectionLost())

        self.failing(ProviderFailed, 502, fault, attempts=3)

    def without_a_length(self, content_type: bytes, body: bytes) -> None:
        """Such an answer ends with its connection, and a reset is no good end."""

        def fault(case: FaultTestCase, peer: Peer) -> None:
            peer.send(b"HTTP/1.1 200 X\r\nContent-Type: " + content_type + b"\r\n\r\n" + body)
            peer.close(ConnectionLost())

        error = self.failing(ProviderFailed, 502, fault, attempts=3)
        self.assertEqual("the provider faulty cut its answer off", error.message)

    def test_reset_of_a_stream_without_a_length(self) -> None:
        self.without_a_length(b"text/event-stream", b"")

    def test_reset_of_a_document_without_a_length(self) -> None:
        self.without_a_length(b"application/json", b'{"choi')

    def test_reset_after_the_first_byte(self) -> None:
        def fault(case: FaultTestCase, peer: Peer) -> None:
            peer.head()
            peer.events(text("par"))
            peer.close(ConnectionLost())

        error = self.failing(ProviderFailed, 502, fault, told="par")
        self.assertEqual("the provider faulty cut its answer off", error.message)

    def test_reset_once(self) -> None:
        """What happens once before the first token is not noticed."""

        def fault(case: FaultTestCase, peer: Peer) -> None:
            if case.requests == 1:
                peer.close(ConnectionLost())
            else:
                sending(event(text("answer")), event(chunk(finish="stop")), DONE, end=True)(case, peer)

        self.answering("answer", fault)

    def test_no_http(self) -> None:
        self.failing(LastingProviderFailure, 502, lambda case, peer: peer.send(b"SSH-2.0-OpenSSH_9.6\r\n"))


class HangTests(FaultTestCase):
    def test_before_the_head(self) -> None:
        error = self.failing(ProviderTimeout, 504, nothing)
        self.assertEqual("the provider faulty did not answer within 6 s", error.message)

    def test_within_the_head(self) -> None:
        """Nor does a head that comes in drips have more time than a whole one."""

        def drip(case: FaultTestCase, peer: Peer) -> None:
            peer.send(b"X" if peer.wire.connected else b"")

        self.failing(ProviderTimeout, 504, lambda case, peer: peer.send(b"HTTP/1.1 200 OK\r\nX-A: "), each=drip)

    def test_after_the_head(self) -> None:
        self.failing(ProviderTimeout, 504, sending())

    def test_mid_stream(self) -> None:
        self.failing(ProviderTimeout, 504, sending(event(text("par"))), told="par")

    def test_slow_drip(self) -> None:
        """A slow answer is one, even in single bytes."""
        left = bytearray(event(text("s")) + event(text("low")) + event(chunk(finish="stop")) + DONE)

        def drip(case: FaultTestCase, peer: Peer) -> None:
            for _ in range(10):
                if left:
                    peer.chunks(bytes([left.pop(0)]))
            if not left:
                peer.chunks(end=True)

        self.answering("slow", sending(), each=drip)

    def test_drip_of_nothing(self) -> None:
        """Bytes that never make an event end with the time of the run."""
        entries = {**self.config.agents.entries}
        entries["main"] = attrs.evolve(entries["main"], timeout_seconds=8.0)
        self.config = attrs.evolve(self.config, agents=attrs.evolve(self.config.agents, entries=entries))
        error = self.failing(RunTimeout, 504, sending(b"data: "), each=lambda case, peer: peer.chunks(b"x"))
        self.assertIn("timeoutSeconds", error.message)
        self.assertTrue(self.peers[0].wire.aborted)


class TlsTests(FaultTestCase):
    scheme = "https"

    def test_hung_peer(self) -> None:
        """
        A server that takes the connection and never shakes hands; the connection is aborted, not closed.

        To shake hands is a part of connecting, so it is tried again.
        """
        self.failing(TransientProviderTimeout, 504, nothing, attempts=3)
        self.assertEqual([True] * 3, [peer.wire.aborted for peer in self.peers])

    def test_hung_peer_without_a_configured_time(self) -> None:
        """Nor has it more time at a server that may take 300 s to answer."""
        faulty = attrs.evolve(self.config.models.providers["faulty"], timeout_seconds=None)
        providers = {**self.config.models.providers, "faulty": faulty}
        self.config = attrs.evolve(self.config, models=ModelsConfig(providers=providers))
        self.failing(TransientProviderTimeout, 504, nothing, attempts=3)

    def test_hung_peer_with_less_time_than_connecting_has(self) -> None:
        faulty = attrs.evolve(self.config.models.providers["faulty"], timeout_seconds=2.0)
        providers = {**self.config.models.providers, "faulty": faulty}
        self.config = attrs.evolve(self.config, models=ModelsConfig(providers=providers))
        self.failing(ProviderTimeout, 504, nothing)
        self.assertTrue(self.peers[0].wire.aborted)

    def test_closed_while_shaking_hands(self) -> None:
        self.failing(ProviderFailed, 502, lambda case, peer: peer.wire.lose(ConnectionLost()), attempts=3)

    def test_no_tls(self) -> None:
        self.failing(LastingProviderFailure, 502, lambda case, peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2))


class GarbageTests(FaultTestCase):
    def test_garbage_events(self) -> None:
        self.failing(LastingProviderFailure, 502, sending(event(b"{not json")))

    def test_garbage_after_text(self) -> None:
        self.failing(LastingProviderFailure, 502, sending(event(text("a")), event(b"<!>")), told="a")

    def test_half_an_event(self) -> None:
        self.failing(ProviderFailed, 502, sending(event(text("a")), b'data: {"choi', end=True), told="a")

    def test_half_an_event_alone(self) -> None:
        """Nothing was told, so it is asked for again."""
        self.failing(ProviderFailed, 502, sending(b'data: {"choi', end=True), attempts=3)

    def test_invalid_utf_8(self) -> None:
        broken = event(text("a")).replace(b'"a"', b'"\xff\xfe"')
        self.failing(LastingProviderFailure, 502, sending(event(text("a")), broken), told="a")

    def test_surrogate_pair_over_two_chunks(self) -> None:
        halves = [event(text("x")).replace(b'"x"', half) for half in (b'"\\ud83d"', b'"\\ude00"')]
        whole = event(text("\N{SNOWMAN}"))
        body = [*halves, whole[:45], whole[45:], event(chunk(finish="stop")), DONE]
        self.answering("\N{GRINNING FACE}\N{SNOWMAN}", sending(*body, end=True))

    def test_half_of_a_pair(self) -> None:
        half = event(text("x")).replace(b'"x"', b'"\\ud83d"')
        self.answering("\N{REPLACEMENT CHARACTER}", sending(half, event(chunk(finish="stop")), DONE, end=True))

    def test_endless_stream(self) -> None:
        """An answer that never ends is bounded; the limit is made small here."""
        self.patch(answer_module, "MAX_KEPT_CHARACTERS", 1000)
        error = self.failing(
            LastingProviderFailure,
            502,
            sending(),
            each=lambda case, peer: peer.events(text("x" * 100)) if not peer.wire.aborted else None,
            told="x" * 1000,
        )
        self.assertIn("does not end", error.message)

    def test_endless_line(self) -> None:
        """So is a line, which no second attempt would mend."""
        piece = b"x" * (sse_module.MAX_EVENT_BYTES // 4)
        self.failing(LastingProviderFailure, 502, sending(b"data: ", *[piece] * 4))

    def test_endless_head(self) -> None:
        """Nor is a head kept that never ends."""
        lines = b"X-Padding: " + b"x" * 1000 + b"\r\n"

        def go_on(case: FaultTestCase, peer: Peer) -> None:
            for _ in range(16):
                if not peer.wire.aborted:
                    peer.send(lines)

        begin = b"HTTP/1.1 200 OK\r\n"
        error = self.failing(LastingProviderFailure, 502, lambda case, peer: peer.send(begin), each=go_on)
        self.assertIn("does not speak HTTP", error.message)
        self.assertTrue(self.peers[0].wire.aborted)

    def endless(self, piece: bytes) -> None:
        """What never makes an event is not read for ever; the limit is made small here."""
        self.patch(openai_completions_module, "MAX_SILENT_BYTES", 1000)

        def go_on(case: FaultTestCase, peer: Peer) -> None:
            if not peer.wire.aborted:
                peer.chunks(piece * 10)

        error = self.failing(LastingProviderFailure, 502, sending(), each=go_on)
        self.assertEqual("the provider faulty sends on and says nothing", error.message)
        self.assertTrue(self.peers[0].wire.aborted)

    def test_endless_comments(self) -> None:
        self.endless(b": ping\n\n")

    def test_endless_garbage(self) -> None:
        self.endless(b"Lorem ipsum\n")

    def test_endless_empty_texts(self) -> None:
        self.endless(event(text("")))

    def test_endless_empty_objects(self) -> None:
        self.endless(event({}))

    def test_signs_of_life(self) -> None:
        """Many little ones between the words do no harm."""
        self.patch(openai_completions_module, "MAX_SILENT_BYTES", 1000)
        life = b": ping\n\n" * 100
        body = [part for word in "abc" for part in (life, event(text(word)))]
        self.answering("abc", sending(*body, life, event(chunk(finish="stop")), DONE, end=True))

    def test_wrong_content_type(self) -> None:
        self.failing(LastingProviderFailure, 502, sending(b"<html>", content_type="text/html"))

    def test_unknown_content_type(self) -> None:
        """What calls itself otherwise and is an answer is taken."""
        answer = [event(text("a")), event(chunk(finish="stop")), DONE]
        self.answering("a", sending(*answer, end=True, content_type="application/octet-stream"))

    def test_no_body(self) -> None:
        self.failing(LastingProviderFailure, 502, sending(end=True))


class ErrorBodyTests(FaultTestCase):
    """An error that came with status 200."""

    def test_json(self) -> None:
        body = b'{"error": {"message": "slow down", "code": 429}}'
        self.failing(ProviderRateLimited, 429, answering_with(200, body), attempts=3)

    def test_json_of_something_else(self) -> None:
        self.failing(LastingProviderFailure, 502, answering_with(200, b'{"status": "ok"}'))

    def test_json_of_a_wrong_key(self) -> None:
        body = b'{"error": {"message": "no", "type": "authentication_error"}}'
        self.failing(ProviderAuthFailed, 424, answering_with(200, body))

    def test_event(self) -> None:
        self.failing(ProviderOverloaded, 503, sending(event({"error": {"type": "overloaded_error"}})), attempts=3)

    def test_field(self) -> None:
        """What no other attempt would mend is not tried again."""
        body = b'error: {"code": 500, "message": "Context size has been exceeded."}\n\n'
        self.failing(ContextTooLong, 400, sending(body, DONE))

    def test_unframed(self) -> None:
        self.failing(ProviderOverloaded, 503, sending(b'{"error": {"code": 503}}', end=True), attempts=3)

    def test_no_choice(self) -> None:
        self.failing(ProviderFailed, 502, sending(DONE, end=True), attempts=3)

    def test_finish(self) -> None:
        self.failing(ProviderFailed, 502, sending(event(chunk(finish="network_error")), DONE, end=True), attempts=3)

    def test_finish_after_text(self) -> None:
        self.failing(ProviderFailed, 502, sending(event(text("a")), event(chunk(finish="abort")), DONE), told="a")

    def test_event_after_text(self) -> None:
        error = event({"error": {"message": "why", "code": "server_error"}})
        self.failing(ProviderFailed, 502, sending(event(text("a")), error), told="a")


class StatusTests(FaultTestCase):
    """The rows of the table of errors, one run each."""

    def check(self, status: int, kind: type[OpenClawError], answered: int, code: str | None, attempts: int) -> None:
        error = self.failing(kind, answered, answering_with(status), attempts=attempts)
        self.assertEqual(code, error.code)

    def test_400(self) -> None:
        self.check(400, ProviderRejected, 400, None, 1)

    def test_401(self) -> None:
        self.check(401, ProviderAuthFailed, 424, "provider_auth_failed", 1)

    def test_402(self) -> None:
        self.check(402, ProviderQuota, 429, "insufficient_quota", 1)

    def test_403(self) -> None:
        self.check(403, ProviderAuthFailed, 424, "provider_auth_failed", 1)

    def test_404(self) -> None:
        self.check(404, ProviderRejected, 404, None, 1)

    def test_408(self) -> None:
        self.check(408, TransientProviderTimeout, 504, "timeout", 3)

    def test_413(self) -> None:
        self.check(413, ContextTooLong, 400, "context_length_exceeded", 1)

    def test_418(self) -> None:
        self.check(418, LastingProviderFailure, 502, "provider_error", 1)

    def test_422(self) -> None:
        self.check(422, ProviderRejected, 422, None, 1)

    def test_429(self) -> None:
        self.check(429, ProviderRateLimited, 429, "rate_limit_exceeded", 3)

    def test_500(self) -> None:
        self.check(500, ProviderFailed, 502, "provider_error", 3)

    def test_502(self) -> None:
        self.check(502, ProviderFailed, 502, "provider_error", 3)

    def test_503(self) -> None:
        self.check(503, ProviderOverloaded, 503, "provider_overloaded", 3)

    def test_504(self) -> None:
        self.check(504, TransientProviderTimeout, 504, "timeout", 3)

    def test_529(self) -> None:
        self.check(529, ProviderOverloaded, 503, "provider_overloaded", 3)

    def test_redirect(self) -> None:
        """It is not followed: the key would go elsewhere."""
        error = self.failing(
            LastingProviderFailure, 502, answering_with(307, b"", Location="http://127.0.0.1:9000/v1/chat/completions")
        )
        self.assertIn("redirect", error.message)

    def test_insufficient_quota(self) -> None:
        body = b'{"error": {"message": "no credit", "code": "insufficient_quota"}}'
        self.failing(ProviderQuota, 429, answering_with(429, body))

    def test_quota_in_other_words(self) -> None:
        self.failing(ProviderQuota, 429, answering_with(403, b'{"message": "Insufficient balance"}'))

    def test_too_long_with_500(self) -> None:
        body = b'{"error": {"message": "Context size has been exceeded.", "code": 500}}'
        self.failing(ContextTooLong, 400, answering_with(500, body))

    def test_unknown_model_with_400(self) -> None:
        error = self.failing(ProviderModelUnknown, 400, answering_with(400, b'{"message": "Model Not Exist"}'))
        self.assertEqual("model_not_found", error.code)

    def test_429_that_asks_to_wait(self) -> None:
        began_s = self.reactor.seconds()
        error = self.failing(ProviderRateLimited, 429, answering_with(429, Retry_After="4"), attempts=3)
        self.assertEqual(4.0, error.retry_after_s)
        self.assertGreaterEqual(self.reactor.seconds() - began_s, 8)

    def test_429_that_asks_for_too_long(self) -> None:
        error = self.failing(ProviderRateLimited, 429, answering_with(429, Retry_After="30"))
        self.assertEqual(30.0, error.retry_after_s)

    def test_refusal_that_hangs(self) -> None:
        """A status whose body never comes says enough."""

        def fault(case: FaultTestCase, peer: Peer) -> None:
            peer.head(400, "application/json")

        self.failing(ProviderRejected, 400, fault)


class FallbackTests(FaultTestCase):
    """The same client with a model to fall back on, at the sound server."""

    def test_hang(self) -> None:
        """A server that says nothing for its C{timeoutSeconds} gives way while another attempt may start."""
        agents = attrs.evolve(
            self.config.agents,
            entries={"main": AgentEntry(model=ModelChoice("faulty/m", ("sound/m",)))},
        )
        self.config = attrs.evolve(self.config, agents=agents)
        run = self.start("main")
        [(_, factory)] = self.new_connections()
        Peer(self.reactor, factory)
        self.reactor.advance(6)
        [(port, factory)] = self.new_connections()
        self.assertEqual(SOUND_PORT, port)
        sound = Peer(self.reactor, factory)
        sound.head()
        sound.events(text("answer"), chunk(finish="stop"), b"[DONE]", end=True)
        self.reactor.advance(0)
        self.assertIsInstance(run.end(), RunFinished)
        assert run.run is not None
        self.assertEqual("sound/m", run.run.timings.model_ref)


class SharedConnectionTests(FaultTestCase):
    def test_another_key(self) -> None:
        """The connection of a wrong key serves the next one, and that of the next run."""
        faulty = self.config.models.providers["faulty"]
        environ = {"FAULTY_API_KEYS": "sk-wrong-one,sk-right-one"}
        http_client = make_http_client(make_agent(self.reactor))
        catalog = Catalog(lambda: self.config, http_client, self.reactor, None, lambda: environ)
        self.assertIsNone(faulty.api_key)
        self.runs = Runs(lambda: self.config, catalog, GatewayStore.in_memory(), self.reactor)
        run = self.start("main")
        [(_, factory)] = self.new_connections()
        peer = Peer(self.reactor, factory)
        self.assertEqual("Bearer sk-wrong-one", peer.request()[1]["authorization"])
        peer.answer(401, b"{}")
        self.reactor.advance(0)
        self.assertEqual("Bearer sk-right-one", self.next_request(peer)["authorization"])
        peer.head()
        peer.events(text("answer"), chunk(finish="stop"), b"[DONE]", end=True)
        self.reactor.advance(0)
        self.assertIsInstance(run.end(), RunFinished)
        self.start("main")
        self.assertEqual("Bearer sk-right-one", self.next_request(peer)["authorization"])
        peer.close()
        self.reactor.pump([5.0] * 4)

    def next_request(self, peer: Peer) -> dict[str, str]:
        """The headers of the next request, on the same connection or on a new one."""
        new = self.new_connections()
        self.assertEqual([], new)
        return peer.request()[1]


class DefaultDeadlineTests(FaultTestCase):
    """Without C{timeoutSeconds}."""

    timeout_seconds = None

    def test_own_server(self) -> None:
        """A server in this network, which may have to load its model first, has 300 s."""
        run = self.start("main")
        [(_, factory)] = self.new_connections()
        Peer(self.reactor, factory)
        self.reactor.advance(299)
        self.assertIsNone(run.outcome)
        self.reactor.advance(1)
        self.assertIs(ProviderTimeout, type(run.failed()))
