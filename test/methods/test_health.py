"""Tests of L{openclaw.methods.health} and L{openclaw.methods.status}."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from openclaw._version import __version__
from openclaw.config.agents import AgentEntry
from openclaw.config.gateway import GatewayConfig, ReloadConfig
from openclaw.config.reload import LastReload
from openclaw.config.schema import Config
from openclaw.errors import StoreError
from openclaw.methods.health import COUNTS_FRESH_S, COUNTS_KEPT_S, SessionCounts
from openclaw.methods.status import resident_bytes
from openclaw.stores import SessionStore
from openclaw.waits import STORE_TIMEOUT_S
from test.fakes import HeldStore, config_with
from test.methods.support import ADMINISTRATOR, NOBODY, READER, MethodTestCase


class CountingTestCase(MethodTestCase):
    """With a store that counts its calls."""

    def make_store(self) -> SessionStore:
        """One whose calls can be held."""
        self.held = HeldStore()
        return self.held

    def health(self, caller: Any = NOBODY) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("health", {}, caller))

    def counted(self) -> int:
        """How often sessions were counted."""
        return self.held.calls.count("sessions")

    def talk(self, *keys: str) -> None:
        """A turn in each of these sessions."""
        for key in keys:
            self.gateway.answer("ok")
            self.ok(self.ask("hi", sessionKey=key))
        self.held.calls.clear()


class HealthTests(CountingTestCase):
    """C{health}."""

    def test_payload(self) -> None:
        """All that the original's command line looks at, and nothing that is not so."""
        self.talk("x")
        self.gateway.clock.advance(3)
        now_ms = self.gateway.now_ms
        recent = [{"key": "agent:main:x", "updatedAt": now_ms - 3000, "age": 3000}]
        sessions = {"path": "[redacted]", "count": 1, "recent": recent}
        # all that the schema of the original's protocol wants
        heartbeat = {
            "enabled": False,
            "every": "disabled",
            "everyMs": None,
            "prompt": "",
            "target": "none",
            "ackMaxChars": 0,
        }
        self.assertEqual(
            {
                "ok": True,
                "ts": now_ms,
                "durationMs": 0,
                "plugins": {"loaded": [], "errors": [], "unavailable": []},
                "configReload": {"hotReloadStatus": "active"},
                "channels": {},
                "channelOrder": [],
                "channelLabels": {},
                "heartbeatSeconds": 0,
                "defaultAgentId": "main",
                "agents": [{"agentId": "main", "isDefault": True, "heartbeat": heartbeat, "sessions": sessions}],
                "sessions": sessions,
            },
            self.health(),
        )

    def test_path(self) -> None:
        """Only an administrator is told where the sessions lie."""
        self.assertEqual(str(self.gateway.paths.store_path), self.health(ADMINISTRATOR)["sessions"]["path"])
        self.assertEqual("[redacted]", self.health(READER)["agents"][0]["sessions"]["path"])

    def test_failing(self) -> None:
        """A part that fails is named, and then the gateway is not well."""
        self.gateway.health.parts = ["store"]
        answer = self.health()
        self.assertEqual((False, ["store"]), (answer["ok"], answer["failing"]))

    def test_agents(self) -> None:
        """Sessions are counted for each agent."""
        self.gateway.use(config_with({"a": AgentEntry(), "b": AgentEntry()}))
        self.talk("agent:a:x", "agent:b:y", "agent:b:z")
        answer = self.health()
        self.assertEqual(3, answer["sessions"]["count"])
        self.assertEqual({"a": 1, "b": 2}, {row["agentId"]: row["sessions"]["count"] for row in answer["agents"]})
        self.assertEqual("a", answer["defaultAgentId"])
        self.assertEqual([False, False], [row["isDefault"] for row in answer["agents"]])

    def test_reload_off(self) -> None:
        """A gateway that does not watch its file says so."""
        self.gateway.use(Config(gateway=GatewayConfig(reload=ReloadConfig(mode="off"))))
        self.assertEqual("disabled", self.health()["configReload"]["hotReloadStatus"])

    def test_clock_set_back(self) -> None:
        """No age is negative."""
        self.talk("x")
        self.gateway.clock.rightNow -= 100
        self.assertEqual(0, self.health()["sessions"]["recent"][0]["age"])
        self.talk("y")
        self.gateway.clock.rightNow -= 100
        self.assertEqual(2, self.health()["sessions"]["count"], "nor is a count kept for longer")

    def test_counts_are_kept(self) -> None:
        """Sessions are counted anew for whoever asks, but not many times a second."""
        self.health()
        counted = self.counted()
        self.assertEqual(2, counted)
        self.talk("x")
        self.assertEqual(0, self.health()["sessions"]["count"])
        self.assertEqual(0, self.counted())
        self.gateway.clock.advance(COUNTS_FRESH_S)
        self.assertEqual(1, self.health()["sessions"]["count"])
        self.held.calls.clear()
        self.gateway.clock.advance(COUNTS_FRESH_S)
        self.gateway.methods.report.payload()
        self.assertEqual(0, self.counted(), "a greeting does with what was counted last")
        self.gateway.clock.advance(COUNTS_KEPT_S)
        self.gateway.methods.report.payload()
        self.assertEqual(2, self.counted())

    def test_counted_once_for_all(self) -> None:
        """Those who ask while the sessions are counted wait for the same count."""
        self.held.holds.add("sessions")
        calls = [self.gateway.call("health", {}, NOBODY) for _ in range(3)]
        assert calls[2].running is not None
        calls[2].running.cancel()
        self.gateway.clock.advance(0.25)
        self.assertEqual(1, self.counted())
        self.held.release()
        self.held.release()
        self.assertEqual([250, 250], [self.ok(called)["durationMs"] for called in calls[:2]])
        self.assertIsNone(calls[2].result)
        self.assertEqual(2, self.counted())

    def test_at_once(self) -> None:
        """The greeting takes what was counted last, and has it counted anew for the next one."""
        self.talk("x")
        self.held.holds.add("sessions")
        report = self.gateway.methods.report
        self.assertEqual(0, report.payload()["sessions"]["count"])
        self.held.release()
        self.held.release()
        self.assertEqual(1, report.payload(READER)["sessions"]["count"])
        self.assertEqual("[redacted]", report.payload()["sessions"]["path"])

    def test_store_fails(self) -> None:
        """Then the last count is told, and nobody waits for ever."""
        self.talk("x")
        self.assertEqual(1, self.health()["sessions"]["count"])
        for name in ("fails", "stalls", "is broken"):
            self.gateway.clock.advance(COUNTS_KEPT_S)
            if name == "fails":
                self.held.failures["sessions"] = [StoreError("disk")]
            elif name == "stalls":
                self.held.holds.add("sessions")
            else:
                self.held.holds.clear()
                self.held.held.clear()
                self.held.failures["sessions"] = [ZeroDivisionError()]
            called = self.gateway.call("health", {"probe": True}, NOBODY)
            self.gateway.clock.advance(STORE_TIMEOUT_S)
            self.assertEqual(1, self.ok(called)["sessions"]["count"], name)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_stop(self) -> None:
        """A count under way ends with the gateway, and with it whoever waits."""
        self.gateway.methods.report.stop()
        self.held.holds.add("sessions")
        called = self.gateway.call("health", {}, NOBODY)
        self.successResultOf(self.gateway.stop())
        self.assertTrue(self.ok(called)["ok"])
        self.assertEqual([], self.gateway.clock.getDelayedCalls())

    def test_event_loop(self) -> None:
        """The reactor's delay is told once it is measured."""
        self.gateway.methods.event_loop.start()
        self.assertNotIn("eventLoop", self.health())
        self.gateway.clock.advance(0.25)
        for method in ("health", "status"):
            answer = self.ok(self.gateway.call(method, {}, READER))
            self.assertEqual(False, answer["eventLoop"]["degraded"])
        self.successResultOf(self.gateway.stop())


class StatusTests(CountingTestCase):
    """C{status}."""

    def status(self, caller: Any = READER) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("status", {"includeChannelSummary": True}, caller))

    def test_payload(self) -> None:
        """Who the gateway is and what it does."""
        self.talk("x")
        self.ask("long", idempotencyKey="k")
        self.ask("waits")
        self.gateway.clock.advance(1)
        answer = self.status()
        self.assertEqual(
            (__version__, "started", 1234), tuple(answer[k] for k in ("runtimeVersion", "phase", "uptimeMs"))
        )
        self.assertEqual(os.getpid(), answer["pid"])
        self.assertEqual({"active": 1, "waiting": 1}, answer["runs"])
        self.assertGreater(answer["processMemory"]["rssBytes"], 10_000_000)
        self.assertEqual(0, answer["tasks"]["total"])
        sessions = answer["sessions"]
        self.assertEqual((2, ["[redacted]"]), (sessions["count"], sessions["paths"]))
        self.assertEqual("smollm2-135m", sessions["defaults"]["model"])
        self.assertEqual(
            [("agent:main:main", "running", 1000), ("agent:main:x", "done", 1000)],
            sorted((row["key"], row["status"], row["age"]) for row in sessions["recent"]),
        )
        (agent,) = sessions["byAgent"]
        self.assertEqual(("main", 2, 2), (agent["agentId"], agent["count"], len(agent["recent"])))
        self.assertNotIn("eventLoop", answer)

    def test_path(self) -> None:
        """Only an administrator is told where the sessions lie."""
        self.assertEqual([str(self.gateway.paths.store_path)], self.status(ADMINISTRATOR)["sessions"]["paths"])

    def test_reload(self) -> None:
        """What an edit of the configuration file needs, and what became of it."""
        state = {"hotReloadStatus": "active", "restartRequired": False, "pending": []}
        self.assertEqual(state, self.status()["configReload"])
        self.gateway.live.pending = ("gateway.port",)
        self.gateway.live.last_reload = LastReload("applied", 12.5, ("agents.defaults.model",))
        last = {"status": "applied", "at": 12500, "applied": ["agents.defaults.model"]}
        expected = {**state, "restartRequired": True, "pending": ["gateway.port"], "last": last}
        self.assertEqual(expected, self.status()["configReload"])
        self.gateway.live.last_reload = LastReload("invalid", 12.5, error="bad")
        self.assertEqual("bad", self.status()["configReload"]["last"]["error"])

    def test_no_default_agent(self) -> None:
        """Clients need some agent to begin with."""
        self.gateway.use(config_with({"a": AgentEntry(), "b": AgentEntry()}))
        self.assertEqual("a", self.status()["heartbeat"]["defaultAgentId"])
        self.assertIsNone(self.status()["sessions"]["defaults"]["model"])

    def test_memory_elsewhere(self) -> None:
        """A system without that file tells the most that the process ever held."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "short").write_text("1")
        (folder / "words").write_text("a b")
        for name in ("absent", "short", "words"):
            self.assertGreater(resident_bytes(folder / name), 10_000_000)
        (folder / "good").write_text("100 7 3")
        self.assertEqual(7 * os.sysconf("SC_PAGESIZE"), resident_bytes(folder / "good"))


class CostTests(CountingTestCase):
    """What a greeting costs."""

    def test_many_agents(self) -> None:
        """However many agents there are, no more than fifty are counted."""
        self.gateway.use(config_with({f"a{number}": AgentEntry() for number in range(80)}))
        answer = self.health()
        self.assertEqual(50, len(answer["agents"]))
        self.assertEqual(51, self.counted())
        self.assertIsInstance(attrs.asdict(SessionCounts()), dict)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.gateway.methods.report.refresh())))
        self.assertEqual(51, self.counted())
