#!/usr/bin/env bash
# Twisted 26.10.0: of an HTTP answer without a length, its client cannot tell a reset in the middle from the end.
#
# A body that is neither chunked nor has a Content-Length ends with its connection.  Whether the server closed that in
# order or it was reset, the body's protocol is told the same, PotentialDataLoss.  Only the transport below knows better.
#
# Seen:
#   closed: b'half' PotentialDataLoss, below it ConnectionDone
#   reset: b'half' PotentialDataLoss, below it ConnectionLost
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q Twisted==26.10.0
cat > "$work/ask.py" <<'PY'
from twisted.internet import protocol, task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import Agent

below = []


class Watched(ProtocolWrapper):
    def connectionLost(self, reason):
        below.append(reason.type.__name__)
        super().connectionLost(reason)


class Watching(WrappingFactory):
    protocol = Watched
    noisy = False


class Endpoint:
    def __init__(self, reactor, uri):
        self.endpoint = TCP4ClientEndpoint(reactor, uri.host.decode(), uri.port)

    def connect(self, factory):
        return self.endpoint.connect(Watching(factory)).addCallback(lambda wrapper: wrapper.wrappedProtocol)


class Endpoints:
    def __init__(self, reactor):
        self.reactor = reactor

    def endpointForURI(self, uri):
        return Endpoint(self.reactor, uri)


class Server(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
        end = self.transport.loseConnection if b"/closed" in data else self.transport.abortConnection
        self.factory.reactor.callLater(0.2, end)


class Body(protocol.Protocol):
    def __init__(self):
        self.data, self.over = b"", Deferred()

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.over.callback(reason.type.__name__)


async def main(reactor):
    factory = protocol.Factory.forProtocol(Server)
    factory.reactor = reactor
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    agent = Agent.usingEndpointFactory(reactor, Endpoints(reactor))
    for way in ("closed", "reset"):
        response = await agent.request(b"GET", f"http://127.0.0.1:{port.getHost().port}/{way}".encode())
        body = Body()
        response.deliverBody(body)
        told = await body.over
        await task.deferLater(reactor, 0.1)
        print(f"{way}: {body.data} {told}, below it {below.pop()}")


task.react(lambda reactor: ensureDeferred(main(reactor)))
PY
"$work/venv/bin/python" -W ignore "$work/ask.py" 2> /dev/null | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
closed: b'half' PotentialDataLoss, below it ConnectionDone
reset: b'half' PotentialDataLoss, below it ConnectionLost
SEEN
