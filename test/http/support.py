"""A whole HTTP side in memory: real gate, policy, runs and store; a scripted model; raw bytes in, raw bytes out."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from openclaw.agents.runs import Runs
from openclaw.config.agents import AgentDefaults, AgentsConfig, ModelChoice
from openclaw.config.gateway import (
    AuthConfig,
    ChatCompletionsConfig,
    CorsConfig,
    EndpointsConfig,
    GatewayConfig,
    HttpConfig,
)
from openclaw.config.models import ModelsConfig, ProviderConfig
from openclaw.config.reload import LiveConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import ModelNotFound
from openclaw.http.routes import make_routes
from openclaw.http.table import RouteTable
from openclaw.models import ResolvedModel
from openclaw.parts import Parts
from openclaw.providers.scripted import ScriptedProvider, ScriptedStream
from openclaw.service.compose import compose
from openclaw.service.stop import STOP_ORDER
from openclaw.store.store import GatewayStore
from test.gateway import MemoryTestCase, make_core

TOKEN = "s3cret"
AUTH = f"Authorization: Bearer {TOKEN}"
CHAT = "/v1/chat/completions"


def make_config(**settings: Any) -> Config:
    """
    A configuration with chat completions on and a scripted model.

    @param settings: C{chat}, C{responses}: whether they are on; C{reasoning}, C{auth}, C{cors}, C{defaults} and
        C{agents} as they say.
    """
    endpoints = EndpointsConfig(
        chat_completions=ChatCompletionsConfig(settings.get("chat", True), settings.get("reasoning", False)),
        responses=attrs.evolve(EndpointsConfig().responses, enabled=settings.get("responses", False)),
    )
    defaults = settings.get("defaults", AgentDefaults(model=ModelChoice("scripted/m")))
    return Config(
        gateway=GatewayConfig(
            auth=settings.get("auth", AuthConfig(mode="token", token=Secret(TOKEN))),
            http=HttpConfig(endpoints, CorsConfig(settings.get("cors", ()))),
        ),
        models=ModelsConfig(providers={"scripted": ProviderConfig("http://127.0.0.1:9/v1")}),
        agents=AgentsConfig(defaults=defaults, entries=settings.get("agents", {})),
    )


class ScriptedCatalog:
    """Has one provider, C{scripted}."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self.provider = provider

    def resolve(self, ref: str) -> ResolvedModel:
        """Any model of that provider."""
        if ref.partition("/")[0] != "scripted":
            raise ModelNotFound("no such provider")
        return ResolvedModel(ref, self.provider, 100_000, None)


def routes_of_nothing() -> RouteTable:
    """The table of a gateway without anything behind it: what there is, and for whom."""
    nothing: Any = None
    return make_routes(nothing, nothing, Clock(), Config, nothing, nothing)


class MemoryTransport(StringTransport):
    """
    A connection's server end, which closes as TCP does: after its last bytes, in a later turn of the reactor.

    @ivar aborted: whether it was cut.
    @ivar reading: whether the client reads what is written; if not, nothing ever gets out.
    @ivar writes: the single writes, in order.
    """

    def __init__(self, clock: MemoryReactorClock, peer: Any) -> None:
        super().__init__(IPv4Address("TCP", "127.0.0.1", 18789), peer, lenient=True)
        self.clock = clock
        self.protocol: Any = None
        self.aborted = False
        self.lost = False
        self.reading = True
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep a write."""
        if not self.lost and not self.aborted:
            self.writes.append(data)
            super().write(data)

    def writeSequence(self, data: Any) -> None:
        """Keep it as one write."""
        self.write(b"".join(data))

    def unregisterProducer(self) -> None:
        """Real transports take it at any time."""
        if self.producer is not None:
            super().unregisterProducer()

    def loseConnection(self) -> None:
        """Close once the client has read everything."""
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self._close_if_flushed)

    def _close_if_flushed(self) -> None:
        if self.reading:
            self.lose(ConnectionDone())

    def abortConnection(self) -> None:
        """Cut it."""
        if not self.aborted:
            self.aborted = True
            self.disconnecting = True
            self.clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: Exception) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason))

    def stop_reading(self) -> None:
        """The client stops reading, and the buffer for it is full."""
        self.reading = False
        self.producer.pauseProducing()

    def start_reading(self) -> None:
        """The client reads again, everything."""
        self.reading = True
        if self.disconnecting:
            self._close_if_flushed()
        elif self.producer is not None:
            self.producer.resumeProducing()


@attrs.frozen
class Answer:
    """One HTTP response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str = "HTTP/1.1"
    whole: bool = True

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error object."""
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, decoded; C{[DONE]} as it is."""
        blocks = [block for block in self.body.decode().split("\n\n") if block and not block.startswith(":")]
        assert all(block.startswith("data: ") and "\n" not in block for block in blocks), blocks
        return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]


def parse_answers(data: bytes, *, head: bool = False, closed: bool = False) -> list[Answer]:
    """
    Read all responses in some bytes; fails on what is no HTTP.

    @param head: they answer HEAD requests.
    @param closed: the connection is closed, which may be what ends a body.
    """
    answers: list[Answer] = []
    while data:
        top, separator, data = data.partition(b"\r\n\r\n")
        assert separator, top
        first, *lines = top.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon and name.lower() not in headers, line
            headers[name.lower()] = value
        body, whole = b"", True
        if int(status) < 200:
            answers.append(Answer(int(status), headers, b"", version))
            continue
        if head or int(status) == 204:
            pass
        elif "transfer-encoding" in headers:
            assert "content-length" not in headers
            body, data, whole = _read_chunks(data)
        elif "content-length" in headers:
            length = int(headers["content-length"])
            whole = len(data) >= length
            body, data = data[:length], data[length:]
        else:
            body, data, whole = data, b"", closed
        answers.append(Answer(int(status), headers, body, version, whole))
    return answers


def _read_chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if length == 0:
            return body, data, True
    return body, data, False


class Client:
    """One connection to the gateway under test."""

    def __init__(self, fixture: GatewayTestCase, peer: Any) -> None:
        self.clock = fixture.clock
        self.transport = MemoryTransport(fixture.clock, peer)
        protocol = fixture.site.buildProtocol(peer)
        self.transport.protocol = protocol
        self.channel = protocol
        protocol.makeConnection(self.transport)

    def send(self, data: bytes | str) -> None:
        """Send bytes; lost if the gateway has closed."""
        if not (self.transport.disconnecting or self.transport.lost):
            self.transport.protocol.dataReceived(data.encode() if isinstance(data, str) else data)

    def request(
        self, method: str, path: str, *headers: str, body: bytes | None = None, host: str = "127.0.0.1"
    ) -> None:
        """Send a request with a credential only if C{headers} has one."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))

    def chat(self, *headers: str, **body: Any) -> None:
        """Ask for a chat completion with the credential."""
        body = {"model": "openclaw", "messages": [{"role": "user", "content": "hi"}]} | body
        self.request("POST", CHAT, AUTH, *headers, body=json.dumps(body).encode())

    def leave(self) -> None:
        """The client closes its end."""
        self.transport.lose(ConnectionDone())

    @property
    def output(self) -> bytes:
        """All that was written so far."""
        return self.transport.value()

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self.transport.lost

    def answers(self, *, head: bool = False) -> list[Answer]:
        """All answers so far, the last one perhaps not whole."""
        return parse_answers(self.output, head=head, closed=self.closed)

    def answer(self, *, head: bool = False) -> Answer:
        """The only answer."""
        (answer,) = self.answers(head=head)
        return answer


class GatewayTestCase(MemoryTestCase):
    """A gateway in memory whose configuration tests replace."""

    def setUp(self) -> None:
        """Put it together."""
        super().setUp()
        self.live = LiveConfig(make_config())
        self.provider = ScriptedProvider()
        self.store = GatewayStore.in_memory()
        self.addCleanup(self.store.close)
        self.runs = Runs(lambda: self.config, ScriptedCatalog(self.provider), self.store, self.clock, lambda: 0.5)
        self.addCleanup(self._check_no_run_is_left)
        self.core = make_core(self.clock, self.live, self.store, self.runs)
        self.health: Any = self.core.health
        self.build_site()

    def build_site(self) -> None:
        """Make the port anew, with what it serves."""
        surfaces = compose(self.core, Parts(self.clock, STOP_ORDER))
        self.joins, self.site = surfaces.joins, surfaces.site

    @property
    def config(self) -> Config:
        """The configuration that applies."""
        return self.live.current

    @config.setter
    def config(self, config: Config) -> None:
        self.live.replace(config)

    def connect(self, peer: Any = None) -> Client:
        """A new connection."""
        client = Client(self, peer or IPv4Address("TCP", "127.0.0.1", 50000))
        self.addCleanup(self._disconnect, client)
        return client

    def _disconnect(self, client: Client) -> None:
        client.leave()
        self.tick()

    def _check_no_run_is_left(self) -> None:
        """A run that is left would end as garbage, amid a later test and with its store closed."""
        self.assertEqual((self.runs.live, self.runs.waiting), ([], 0))

    def ask(self, method: str, path: str, *headers: str, body: bytes | None = None) -> Answer:
        """The answer to one request with the credential, which must not take any time."""
        client = self.connect()
        client.request(method, path, AUTH, *headers, body=body)
        self.tick()
        return client.answer(head=method == "HEAD")

    def ask_chat(self, *headers: str, **body: Any) -> Answer:
        """The answer to a chat completion that the provider has a script for."""
        client = self.connect()
        client.chat(*headers, **body)
        self.tick()
        return client.answer()

    @property
    def stream(self) -> ScriptedStream:
        """The provider's last call."""
        return self.provider.streams[-1]
