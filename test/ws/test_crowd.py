"""Tests for L{openclaw.ws.crowd}: what concerns all connections together."""

from __future__ import annotations

import attrs

from openclaw.config.gateway import AuthConfig
from openclaw.config.secret import Secret
from openclaw.ws import crowd
from test.http.support import make_config
from test.ws.support import Peer, WebSocketTestCase


class CredentialTests(WebSocketTestCase):
    def use_secret(self, secret: str) -> None:
        """Another configuration applies."""
        self.config = make_config(auth=AuthConfig(mode="token", token=Secret(secret)))
        self.crowd.check_credentials()

    def test_another_secret(self) -> None:
        peers = [self.connected(), self.connected("openclaw-macos", "ui", scopes=[])]
        peers[0].ask("hold")
        waiting = self.open()
        self.use_secret("another-secret")
        for peer in peers:
            self.assertEqual(peer.close, (4001, "gateway auth changed"))
        self.assertEqual(self.methods.cancelled, self.methods.held)
        self.assertIsNone(waiting.close)
        self.assertTrue(waiting.connect(auth={"token": "another-secret"})["ok"])
        for peer in (*peers, waiting):
            peer.client.leave()
        self.over(waiting)

    def test_many(self) -> None:
        peers = [self.connected("gateway-client", "backend", scopes=[]) for _ in range(crowd.SLICE_CLOSED + 1)]
        self.use_secret("another-secret")
        self.assertEqual([peer.close_code for peer in peers].count(4001), crowd.SLICE_CLOSED)
        self.tick()
        self.assertEqual({peer.close for peer in peers}, {(4001, "gateway auth changed")})

    def test_the_same_secret(self) -> None:
        peer = self.connected()
        self.config = attrs.evolve(self.config, schema="another")
        self.crowd.check_credentials()
        self.assertIsNone(peer.close)
        self.assertEqual(peer.answer("read")["ok"], True)

    def test_nothing_of_the_secret_is_shown(self) -> None:
        self.assertEqual(repr(self.policy.credential), "Credential(mode='token')")


class UnreadTests(WebSocketTestCase):
    """What waits for all clients together is bounded; who has the most of it is closed."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(crowd, "MAX_UNREAD_BYTES", 10_000)

    def deaf(self, size_bytes: int = 0) -> Peer:
        """A client that does not read, and for which about as much waits."""
        peer = self.connected()
        peer.client.transport.stop_reading()
        if size_bytes:
            peer.ask("echo", {"text": "x" * size_bytes})
        return peer

    def test_who_has_most_is_closed(self) -> None:
        little, most, much = self.deaf(1000), self.deaf(4000), self.deaf(3000)
        little.ask("echo", {"text": "x" * 1000})
        self.assertEqual([peer.close for peer in (little, most, much)], [None] * 3)
        little.ask("echo", {"text": "x" * 1500})
        self.assertEqual([peer.close for peer in (little, most, much)], [None, (1008, "slow consumer"), None])
        # What it had counts no more, and nothing else has to go.
        little.ask("echo", {"text": "x" * 2000})
        self.assertEqual([peer.close_code for peer in (little, much)], [None, None])
        self.assertEqual(len(little.answers("4:ask")), 1)
        self.wait(3)
        self.assertTrue(most.client.transport.aborted)

    def test_who_asks_may_be_the_one(self) -> None:
        other, peer = self.deaf(3000), self.deaf(6000)
        peer.ask("echo", {"text": "x" * 2000})
        self.assertEqual((other.close, peer.close), (None, (1008, "slow consumer")))

    def test_one_after_another(self) -> None:
        others = [self.deaf(3000) for _ in range(3)]
        peer = self.deaf()
        peer.ask("echo", {"text": "x" * 9900})
        self.assertEqual([each.close_code for each in (*others, peer)], [None, None, None, 1008])
        self.crowd.broadcaster.publish("agent", {"text": "x" * 9900})
        self.wait(1)
        self.assertEqual([each.close_code for each in others], [1008] * 3)

    def test_what_is_read_counts_no_more(self) -> None:
        for _ in range(3):
            peer = self.deaf(6000)
            peer.client.transport.start_reading()
            self.assertIsNone(peer.close)
        peers = [self.deaf(4000) for _ in range(2)]
        self.assertEqual([peer.close for peer in peers], [None, None])

    def test_who_has_gone_counts_no_more(self) -> None:
        for _ in range(3):
            self.deaf(6000).client.leave()
        peers = [self.deaf(4000) for _ in range(2)]
        self.assertEqual([peer.close for peer in peers], [None, None])

    def test_who_reads_is_never_closed(self) -> None:
        reader = self.connected()
        self.deaf(9000)
        for _ in range(5):
            reader.ask("echo", {"text": "x" * 9000})
        self.assertIsNone(reader.close)
