"""Tests of L{openclaw.config.listen}."""

from __future__ import annotations

from typing import Any
from unittest import mock

import attrs
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config import listen as listen_module
from openclaw.config.gateway import GatewayConfig
from openclaw.config.listen import BACKLOG, Listening, listening_at, listening_of
from openclaw.config.schema import Config
from openclaw.errors import StartError


def config(**gateway: Any) -> Config:
    return attrs.evolve(Config(), gateway=GatewayConfig(**gateway))


class ConfiguredTests(SynchronousTestCase):
    def test_binds(self) -> None:
        for settings, host, on_loopback in (
            ({}, "127.0.0.1", True),
            ({"bind": "lan"}, "0.0.0.0", False),
            ({"bind": "custom", "custom_bind_host": "10.0.0.5"}, "10.0.0.5", False),
            ({"bind": "custom", "custom_bind_host": "::1"}, "::1", True),
        ):
            self.assertEqual(Listening(host, 123, None, on_loopback), listening_of(config(**settings), 123))

    def test_bind_that_is_not_available(self) -> None:
        self.assertRaises(StartError, listening_of, config(bind="tailnet"), 123)

    def test_endpoint(self) -> None:
        reactor: Any = MemoryReactor()
        endpoint = Listening("10.0.0.5", 123, None, False).endpoint(reactor)
        self.assertIsInstance(endpoint, TCP4ServerEndpoint)
        self.successResultOf(endpoint.listen(Factory()))
        ((port, _, backlog, interface),) = reactor.tcpServers
        self.assertEqual((123, BACKLOG, "10.0.0.5"), (port, backlog, interface))
        self.assertIsInstance(Listening("::1", 123, None, True).endpoint(reactor), TCP6ServerEndpoint)
        self.assertIsInstance(Listening(None, 123, None, True).endpoint(reactor), TCP4ServerEndpoint)


class UrlTests(SynchronousTestCase):
    def test_urls(self) -> None:
        for host, url in (
            ("127.0.0.1", "http://127.0.0.1:123"),
            ("0.0.0.0", "http://127.0.0.1:123"),
            ("", "http://127.0.0.1:123"),
            ("10.0.0.5", "http://10.0.0.5:123"),
            ("::", "http://[::1]:123"),
            ("::1", "http://[::1]:123"),
        ):
            self.assertEqual(url, Listening(host, 123, None, True).url())

    def test_the_port_that_came_out(self) -> None:
        self.assertEqual("http://127.0.0.1:999", Listening("127.0.0.1", 0, None, True).url(999))

    def test_no_tcp(self) -> None:
        self.assertEqual("unix:/run/x", listening_at("unix:/run/x").url())
        self.assertEqual("", Listening(None, 0, None, True).url())


class DescriptionTests(SynchronousTestCase):
    def test_tcp(self) -> None:
        for description, host, port, on_loopback in (
            ("tcp:8080", "0.0.0.0", 8080, False),
            ("tcp:port=8080", "0.0.0.0", 8080, False),
            ("tcp:0:interface=127.0.0.1", "127.0.0.1", 0, True),
            ("tcp:interface=localhost:port=1", "localhost", 1, True),
            ("tcp:65535:interface=10.0.0.5:backlog=9", "10.0.0.5", 65535, False),
            ("tcp:80:127.0.0.1:9", "127.0.0.1", 80, True),
            ("tcp6:8080", "::", 8080, False),
            ("tcp6:80:9:\\:\\:1", "::1", 80, True),
            ("tcp6:8080:interface=\\:\\:1", "::1", 8080, True),
        ):
            self.assertEqual(Listening(host, port, description, on_loopback), listening_at(description))

    def test_others(self) -> None:
        unix, systemd = "unix:/run/x:mode=600", "systemd:domain=INET:name=http"
        self.assertEqual(Listening(None, 0, unix, True), listening_at(unix))
        self.assertEqual(Listening(None, 0, systemd, False), listening_at(systemd))

    def test_refused(self) -> None:
        for port in ("", "x", "-1", "65536", "²", "٣", "9" * 5000, "interface=1"):
            error = self.assertRaises(StartError, listening_at, f"tcp:{port}")
            self.assertIn("names no TCP port", error.message)
        for description in ("", "ssl:443", "tcp", "TCP:80", "8080", "fd:3"):
            self.assertRaises(StartError, listening_at, description)

    def test_endpoint(self) -> None:
        reactor: Any = MemoryReactor()
        self.assertIsInstance(listening_at("tcp:80").endpoint(reactor), TCP4ServerEndpoint)
        self.assertIsInstance(listening_at("unix:/run/x").endpoint(reactor), UNIXServerEndpoint)

    def test_backlog(self) -> None:
        """It is ours unless the description names another; Twisted's own is short."""
        for description, backlog in (
            ("tcp:80", BACKLOG),
            ("tcp:port=80:interface=10.0.0.5", BACKLOG),
            ("tcp:80:backlog=9", 9),
            ("tcp:80:10.0.0.5:9", 9),
            ("tcp6:80", BACKLOG),
            ("tcp6:80:interface=\\:\\:1", BACKLOG),
            ("tcp6:80:9", 9),
            ("unix:/run/x", BACKLOG),
            ("unix:/run/x:mode=600", BACKLOG),
            ("unix:/run/x:600:9", 9),
        ):
            reactor: Any = MemoryReactor()
            self.successResultOf(listening_at(description).endpoint(reactor).listen(Factory()))
            ((_, _, given, *_),) = reactor.unixServers or reactor.tcpServers
            self.assertEqual(backlog, given, description)

    def test_passed_by_systemd(self) -> None:
        """Its socket listens already, with a backlog of its own."""
        endpoint = listening_at("systemd:domain=INET:index=0")
        with mock.patch.object(listen_module, "serverFromString") as made:
            endpoint.endpoint(None)
        made.assert_called_once_with(None, "systemd:domain=INET:index=0")
