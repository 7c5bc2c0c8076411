"""Tests for L{openclaw.ws.broadcast} and for what connected clients are sent unasked."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.ws import broadcast, connection
from openclaw.ws.broadcast import EVENT_SCOPES, SLICE_BYTES, SLICE_LISTENERS, TICK_INTERVAL_S, Broadcaster
from openclaw.ws.crowd import PRESENCE_INTERVAL_S
from openclaw.ws.factory import PING_INTERVAL_S
from openclaw.ws.frames import EventFrame, event_frame
from openclaw.ws.hello import MAX_BUFFERED_BYTES
from test.ws.support import Peer, WebSocketTestCase, frame


class FakeListener:
    """
    A connection that remembers the C{n} of what it was told.

    @ivar on_told: called with it.
    """

    scopes = ("operator.read",)

    def __init__(self) -> None:
        self.told: list[int] = []
        self.on_told: Callable[[int], None] | None = None

    def tell(self, frame: EventFrame) -> None:
        number = json.loads(frame.bare())["payload"]["n"]
        self.told.append(number)
        if self.on_told is not None:
            self.on_told(number)


class BroadcastTests(WebSocketTestCase):
    def publish(self, name: str, **payload: object) -> None:
        """Tell an event."""
        self.crowd.broadcaster.publish(name, payload)

    def test_numbers(self) -> None:
        first = self.connected()
        self.publish("agent", n=1)
        second = self.connected()
        first.answer("read")
        self.publish("agent", n=2)
        self.assertEqual(
            first.events(),
            [{"type": "event", "event": "agent", "payload": {"n": n}, "seq": n} for n in (1, 2)],
        )
        self.assertEqual([(value["seq"], value["payload"]["n"]) for value in second.events()], [(1, 2)])

    def test_scopes(self) -> None:
        readers = [self.connected(scopes=[f"operator.{name}"]) for name in ("read", "write", "admin")]
        others = [self.connected(scopes=[]), self.connected(scopes=["operator.pairing"])]
        for name in EVENT_SCOPES:
            self.publish(name)
        everything = list(EVENT_SCOPES)
        for peer in readers:
            self.assertEqual([value["event"] for value in peer.events()], everything)
        for peer in others:
            self.assertEqual([value["event"] for value in peer.events()], ["tick", "health", "shutdown"])

    def test_unknown_event(self) -> None:
        self.connected()
        self.assertRaises(KeyError, self.publish, "surprise")

    def test_nothing_before_hello(self) -> None:
        peer = self.open()
        self.publish("tick")
        self.assertEqual(len(peer.told), 1)

    def test_encoded_once(self) -> None:
        peers = [self.connected() for _ in range(3)]
        encoded: list[str] = []

        def encode(name: str, *args: object, **more: object) -> EventFrame:
            encoded.append(name)
            return event_frame(name, *args, **more)  # type: ignore[arg-type]

        self.patch(broadcast, "event_frame", encode)
        self.publish("agent")
        self.assertEqual(encoded, ["agent"])
        self.assertEqual([len(peer.events()) for peer in peers], [1, 1, 1])

    def test_one_that_leaves_amid(self) -> None:
        first, second, third = (self.connected() for _ in range(3))
        leaving = second.client.transport.protocol
        self.patch(first.client.transport.protocol, "tell", lambda frame: leaving.close(1008, "gone"))
        self.publish("agent")
        self.assertEqual([len(peer.events()) for peer in (second, third)], [0, 1])

    def test_leaving_twice(self) -> None:
        peer = self.connected()
        protocol = peer.client.transport.protocol
        self.crowd.broadcaster.leave(protocol)
        self.crowd.broadcaster.leave(protocol)
        self.assertFalse(self.bus.has_listeners)

    def test_shutdown(self) -> None:
        peer = self.connected(scopes=[])
        self.crowd.close_all()
        self.assertEqual(
            peer.events(), [{"type": "event", "event": "shutdown", "payload": {"reason": "gateway stopping"}, "seq": 1}]
        )
        self.assertEqual(peer.close, (1012, "service restart"))
        self.over(peer)


class ManyListenersTests(SynchronousTestCase):
    """What waits its turn; the clients are no more than the numbers of what they are told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.listening: list[bool] = []
        self.broadcaster = Broadcaster(self.clock, dict, self.listening.append)
        self.listeners = [FakeListener() for _ in range(3 * SLICE_LISTENERS)]
        for listener in self.listeners:
            self.broadcaster.join(listener)

    def publish(self, number: int, size: int = 0) -> None:
        """Tell an event."""
        self.broadcaster.publish("chat", {"n": number, "text": "x" * size})

    def turn(self) -> None:
        """One turn of a reactor, which leaves for the next one what it begins."""
        for call in self.clock.getDelayedCalls():
            if call.getTime() <= self.clock.seconds():
                due, arguments = call.func, call.args
                call.cancel()
                due(*arguments)

    def told(self) -> int:
        """How many events were told, to all together."""
        return sum(len(listener.told) for listener in self.listeners)

    def test_some_at_a_time(self) -> None:
        self.publish(1)
        self.publish(2)
        for turn in range(1, 7):
            self.assertEqual(self.told(), turn * SLICE_LISTENERS)
            self.turn()
        self.assertEqual([listener.told for listener in self.listeners], [[1, 2]] * len(self.listeners))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.publish(3)
        self.assertEqual(self.told(), 7 * SLICE_LISTENERS)

    def test_large_events(self) -> None:
        self.publish(1, SLICE_BYTES)
        for turn in range(1, 4):
            self.assertEqual(self.told(), turn)
            self.turn()

    def test_who_leaves_is_not_told_and_who_comes_has_the_next(self) -> None:
        self.publish(1)
        self.broadcaster.leave(self.listeners[-1])
        newcomer = FakeListener()
        self.broadcaster.join(newcomer)
        self.publish(2)
        self.clock.pump([0] * 10)
        self.assertEqual(self.listeners[-1].told, [])
        self.assertEqual(self.listeners[-2].told, [1, 2])
        self.assertEqual(newcomer.told, [2])

    def test_what_is_told_amid_comes_after(self) -> None:
        self.listeners[0].on_told = lambda number: self.publish(2) if number == 1 else None
        self.publish(1)
        self.clock.pump([0] * 10)
        self.assertEqual([listener.told for listener in self.listeners], [[1, 2]] * len(self.listeners))

    def test_is_behind(self) -> None:
        self.assertFalse(self.broadcaster.is_behind)
        self.publish(1)
        self.publish(2)
        while self.told() < 2 * len(self.listeners):
            self.assertTrue(self.broadcaster.is_behind)
            self.turn()
        self.assertFalse(self.broadcaster.is_behind)
        self.publish(3)
        for listener in self.listeners:
            self.broadcaster.leave(listener)
        self.assertFalse(self.broadcaster.is_behind)

    def test_all_leave(self) -> None:
        self.publish(1)
        for listener in self.listeners:
            self.broadcaster.leave(listener)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told(), SLICE_LISTENERS)
        self.broadcaster.join(self.listeners[0])
        self.publish(2)
        self.assertEqual(self.listeners[0].told, [1, 2])

    def test_bounds_of_what_waits(self) -> None:
        for bound, size in (("MAX_BACKLOG_EVENTS", 0), ("MAX_BACKLOG_BYTES", 100)):
            self.patch(broadcast, bound, 5 if size == 0 else 600)
            before = self.told()
            for number in range(20):
                self.publish(number, size)
            left = 20 * len(self.listeners) - (self.told() - before)
            self.assertLessEqual(left, 5 * len(self.listeners))
            self.clock.pump([0] * 20)
            self.assertEqual(self.told() - before, 20 * len(self.listeners))
            self.assertEqual({tuple(listener.told[-20:]) for listener in self.listeners}, {tuple(range(20))})

    def test_bounds_amid_telling(self) -> None:
        self.patch(broadcast, "MAX_BACKLOG_EVENTS", 2)

        def more(number: int) -> None:
            if number == 0:
                for following in range(1, 6):
                    self.publish(following)

        self.listeners[0].on_told = more
        self.publish(0)
        self.clock.pump([0] * 20)
        self.assertEqual({tuple(listener.told) for listener in self.listeners}, {tuple(range(6))})

    def test_one_that_fails(self) -> None:
        def fail(number: int) -> None:
            raise RuntimeError("a bug")

        self.listeners[0].on_told = fail
        self.assertRaises(RuntimeError, self.publish, 1)
        self.listeners[0].on_told = None
        self.publish(2)
        self.clock.pump([0] * 10)
        self.assertEqual(self.listeners[-1].told, [1, 2])


class AliveTests(WebSocketTestCase):
    def pong(self, peer: Peer) -> int:
        """Answer all pings; gives how many there were."""
        peer.read()
        pings = [payload for opcode, payload in peer.frames if opcode == 9]
        if pings:
            peer.client.send(frame(pings[-1], 10))
        return len(pings)

    def test_tick_and_health(self) -> None:
        peer = self.connected(scopes=[])
        self.wait(TICK_INTERVAL_S - 0.5)
        self.pong(peer)
        self.assertEqual(peer.events(), [])
        self.wait(0.5)
        self.assertEqual(
            peer.events(),
            [{"type": "event", "event": "tick", "payload": {"ts": int(self.clock.seconds() * 1000)}, "seq": 1}],
        )
        self.snapshot.health_payload = {"ok": False}
        for _ in range(6):
            self.wait(15)
            self.pong(peer)
        self.assertEqual(
            [value["event"] for value in peer.events()], ["tick", "tick", "health", "tick", "tick", "health"]
        )
        health = peer.events("health")[0]
        self.assertEqual((health["payload"], health["stateVersion"]), ({"ok": False}, {"health": 2}))
        self.assertEqual(self.connected().told[1]["payload"]["snapshot"]["stateVersion"]["health"], 3)
        self.assertIsNone(peer.close)

    def test_nobody_is_ticked(self) -> None:
        peer = self.connected()
        self.over(peer)
        peer = self.connected()
        self.over(peer)

    def test_ping(self) -> None:
        peer = self.connected()
        for number in range(1, 5):
            self.wait(PING_INTERVAL_S)
            self.assertEqual(self.pong(peer), number)
        self.assertIsNone(peer.close)

    def test_no_pong(self) -> None:
        peer = self.connected()
        self.wait(2 * PING_INTERVAL_S - 0.5)
        self.assertFalse(peer.client.closed)
        self.wait(1)
        self.assertTrue(peer.client.transport.aborted)
        self.assertTrue(peer.client.closed)
        self.over(peer)

    def test_anything_is_as_good_as_a_pong(self) -> None:
        peer = self.connected()
        self.wait(PING_INTERVAL_S + 20)
        peer.answer("read")
        self.wait(20)
        self.assertFalse(peer.client.closed)


class SlowConsumerTests(WebSocketTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(connection, "MAX_BUFFERED_BYTES", 10_000)

    def test_limit(self) -> None:
        self.assertEqual(MAX_BUFFERED_BYTES, 50 * 1024 * 1024)

    def test_closed(self) -> None:
        peer = self.connected()
        peer.client.transport.stop_reading()
        for _ in range(9):
            peer.ask("echo", {"text": "x" * 1000})
        self.assertIsNone(peer.close)
        peer.ask("echo", {"text": "x" * 1000})
        self.assertEqual(peer.close, (1008, "slow consumer"))
        self.wait(3)
        self.assertTrue(peer.client.transport.aborted)
        self.over(peer)

    def test_droppable_events_are_left_out(self) -> None:
        peer = self.connected()
        other = self.connected()
        publish = self.crowd.broadcaster.publish
        peer.client.transport.stop_reading()
        publish("agent", {"text": "x" * 9900})
        for number in range(5):
            publish("chat", {"n": number, "text": "x" * 100}, droppable=True)
        self.assertEqual([value["seq"] for value in peer.events()], [1])
        self.assertEqual([value["seq"] for value in other.events()], [1, 2, 3, 4, 5, 6])
        peer.client.transport.start_reading()
        publish("chat", {"n": 5}, droppable=True)
        # The gap tells the client that it has missed something.
        self.assertEqual([value["seq"] for value in peer.events()], [1, 7])
        self.assertIsNone(peer.close)

    def test_droppable_events_are_left_out_long_before_the_limit(self) -> None:
        self.patch(connection, "MAX_STALE_BYTES", 1000)
        peer = self.connected()
        publish = self.crowd.broadcaster.publish
        # As long as it reads, an event may have any size.
        publish("chat", {"text": "x" * 2000}, droppable=True)
        peer.client.transport.stop_reading()
        for _ in range(3):
            publish("chat", {"text": "x" * 900}, droppable=True)
        publish("agent", {"text": "x"})
        self.assertEqual([value["seq"] for value in peer.events()], [1, 2, 3, 5])
        self.assertIsNone(peer.close)

    def test_event_that_must_not_be_lost(self) -> None:
        peer = self.connected()
        peer.client.transport.stop_reading()
        for _ in range(2):
            self.crowd.broadcaster.publish("agent", {"text": "x" * 6000})
        self.assertEqual(peer.close, (1008, "slow consumer"))

    def test_pings_of_one_that_does_not_read(self) -> None:
        peer = self.connected()
        peer.client.transport.stop_reading()
        written = len(peer.client.output)
        peer.client.send(frame(b"x", 9) * 100)
        self.assertEqual(len(peer.client.output), written)
        peer.client.transport.start_reading()
        peer.client.send(frame(b"y", 9))
        peer.read()
        self.assertEqual(peer.frames[-1], (10, b"y"))

    def test_who_reads_has_no_limit(self) -> None:
        peer = self.connected()
        for _ in range(20):
            peer.ask("echo", {"text": "x" * 1000})
            peer.client.transport.producer.pauseProducing()
            peer.client.transport.producer.resumeProducing()
        self.assertIsNone(peer.close)
        peer.client.transport.producer.stopProducing()
        self.assertIsNone(peer.close)


class PresenceEventTests(WebSocketTestCase):
    def test_user_interfaces_come_and_go(self) -> None:
        reader = self.connected(scopes=["operator.read"])
        peer = self.connected("openclaw-macos", "ui", scopes=["operator.read"])
        self.assertEqual(peer.events(), [])  # it may not see who is there
        (event,) = reader.events("presence")
        self.assertEqual(event["stateVersion"], {"presence": 2, "health": 1})
        self.assertEqual([entry["mode"] for entry in event["payload"]["presence"]], ["gateway", "ui"])
        peer.client.leave()
        self.wait(PRESENCE_INTERVAL_S)
        event = reader.events("presence")[1]
        self.assertEqual(event["stateVersion"], {"presence": 3, "health": 1})
        self.assertEqual([entry["mode"] for entry in event["payload"]["presence"]], ["gateway"])

    def test_many_that_come_together(self) -> None:
        reader = self.connected(scopes=["operator.read"])
        peers = [self.connected("openclaw-macos", "ui") for _ in range(20)]
        self.assertEqual(len(reader.events("presence")), 1)
        self.wait(PRESENCE_INTERVAL_S)
        _, event = reader.events("presence")
        self.assertEqual(len(event["payload"]["presence"]), 21)
        self.assertEqual(event["stateVersion"], {"presence": 21, "health": 1})
        self.wait(2 * PRESENCE_INTERVAL_S)
        self.assertEqual(len(reader.events("presence")), 2)
        self.crowd.close_all()
        self.assertEqual(len(reader.events("presence")), 2)
        for peer in (reader, *peers):
            peer.client.leave()
        self.over(reader)

    def test_stop_amid_a_pause(self) -> None:
        reader = self.connected(scopes=["operator.read"])
        peer = self.connected("openclaw-macos", "ui")
        self.crowd.close_all()
        peer.client.leave()
        self.assertEqual(len(reader.events("presence")), 1)
        self.over(reader)

    def test_programs_are_not_listed(self) -> None:
        reader = self.connected()
        self.connected("cli", "cli").client.leave()
        self.assertEqual(reader.events("presence"), [])

    def test_hello_has_the_newcomer(self) -> None:
        device = {"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"}
        peer = self.connected(device=device)
        presence = peer.told[1]["payload"]["snapshot"]["presence"]
        self.assertEqual([entry.get("clientId") for entry in presence], [None, "gateway-client"])
        self.assertEqual(len(peer.events("presence")), 1)
        self.assertEqual(json.dumps(presence), json.dumps(peer.events("presence")[0]["payload"]["presence"]))
