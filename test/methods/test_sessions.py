"""Tests of L{openclaw.methods.sessions} and of the rows that it shows."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred

from openclaw.config.agents import AgentEntry, ModelChoice
from openclaw.config.models import ModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.errors import InvalidRequest, ProviderRejected
from openclaw.events import ProviderFinished, ProviderUsage, TextDelta
from openclaw.messages import Usage
from openclaw.methods import session_rows, sessions
from openclaw.methods.session_rows import (
    context_tokens,
    find_session,
    live_ids,
    model_defaults,
    session_id,
    session_row,
)
from openclaw.records import Entry, RunRecord, SessionRecord, SessionRow
from test.fakes import config_with, user
from test.methods.support import ADMINISTRATOR, READER, MethodTestCase


class ListTests(MethodTestCase):
    """C{sessions.list}."""

    def list(self, **params: Any) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("sessions.list", params, READER))

    def keys(self, **params: Any) -> list[str]:
        """The keys of its answer, without what is common."""
        return [row["key"].removeprefix("agent:main:") for row in self.list(**params)["sessions"]]

    def talk(self, *keys: str) -> None:
        """A turn in each of these sessions, a minute apart."""
        for key in keys:
            self.gateway.clock.advance(60)
            self.gateway.answer("ok")
            self.ok(self.ask("hi", sessionKey=key))

    def test_empty(self) -> None:
        """No sessions."""
        self.assertEqual(
            {
                "ts": self.gateway.now_ms,
                "path": "[redacted]",
                "count": 0,
                "totalCount": 0,
                "limitApplied": 100,
                "nextOffset": None,
                "hasMore": False,
                "activeMinutes": None,
                "owners": [],
                "defaults": {"modelProvider": "local", "model": "smollm2-135m", "contextTokens": 4096},
                "sessions": [],
            },
            self.list(),
        )

    def test_many_rows_let_others_have_their_turn(self) -> None:
        self.patch(sessions, "ROWS_AT_ONCE", 2)
        self.talk("a", "b", "c", "d", "e")
        called = self.gateway.call("sessions.list", {}, READER)
        self.assertFalse(called.over)
        self.gateway.clock.advance(0)
        self.assertEqual(
            ["e", "d", "c", "b", "a"], [row["key"].rpartition(":")[2] for row in self.ok(called)["sessions"]]
        )

    def test_path(self) -> None:
        """Only an administrator is told where the sessions lie."""
        answer = self.ok(self.gateway.call("sessions.list", {}, ADMINISTRATOR))
        self.assertEqual(str(self.gateway.paths.store_path), answer["path"])

    def test_row(self) -> None:
        """All that is known of a session."""
        self.gateway.clock.advance(1)
        created_ms = self.gateway.now_ms
        called = self.ask("hi")
        self.gateway.clock.advance(2)
        stream = self.gateway.provider.streams[0]
        stream.push(TextDelta("ok"), ProviderUsage(Usage(120, 5, cached_tokens=20)), ProviderFinished("stop"))
        stream.end()
        self.ok(called)
        (row,) = self.list()["sessions"]
        self.assertEqual(
            {
                "key": "agent:main:main",
                "kind": "direct",
                "chatType": "direct",
                "agentId": "main",
                "isMain": True,
                "createdAt": created_ms,
                "updatedAt": created_ms + 2000,
                "archived": False,
                "pinned": False,
                "unread": False,
                "hasActiveRun": False,
                "activeRunIds": [],
                "snapshotAt": self.gateway.now_ms,
                "status": "done",
                "abortedLastRun": False,
                "lastRunId": self.branch()[-1].run_id,
                "startedAt": created_ms,
                "endedAt": created_ms + 2000,
                "runtimeMs": 2000,
                "modelProvider": "local",
                "model": "smollm2-135m",
                "contextTokens": 4096,
                "inputTokens": 100,
                "outputTokens": 5,
                "totalTokens": 120,
                "totalTokensFresh": True,
            },
            {name: value for name, value in row.items() if name != "sessionId"},
        )
        self.assertEqual(36, len(row["sessionId"]))

    def test_running(self) -> None:
        """A run under way makes its session a running one, with the ids of its runs."""
        self.ask("hi", idempotencyKey="k")
        (row,) = self.list()["sessions"]
        self.assertEqual(("running", True, ["k"]), (row["status"], row["hasActiveRun"], row["activeRunIds"]))
        self.assertNotIn("endedAt", row)
        self.gateway.runs.cancel("k")
        self.settle()
        (row,) = self.list()["sessions"]
        self.assertEqual(("killed", True, False), (row["status"], row["abortedLastRun"], row["hasActiveRun"]))

    def test_failed(self) -> None:
        """A run that failed."""
        self.gateway.provider.enqueue(ProviderRejected("no", status=400))
        self.ask("hi")
        (row,) = self.list()["sessions"]
        self.assertEqual(("failed", False), (row["status"], row["abortedLastRun"]))

    def test_pages(self) -> None:
        """Newest first, page by page."""
        self.talk("a", "b", "c")
        first = self.list(limit=2)
        self.assertEqual((2, 3, 2, True), tuple(first[k] for k in ("count", "totalCount", "nextOffset", "hasMore")))
        self.assertEqual(["c", "b"], self.keys(limit=2))
        second = self.list(limit=2, offset=2)
        self.assertEqual(
            (1, 3, None, False), tuple(second[k] for k in ("count", "totalCount", "nextOffset", "hasMore"))
        )
        self.assertEqual(["a"], self.keys(limit=2, offset=2))
        beyond = self.list(offset=7)
        self.assertEqual(([], None, False), (beyond["sessions"], beyond["nextOffset"], beyond["hasMore"]))

    def test_filters(self) -> None:
        """By text, by time, by agent."""
        self.talk("apple", "pear", "Apple pie")
        self.assertEqual(["Apple pie", "apple"], self.keys(search="APPLE"))
        self.assertEqual(3, len(self.keys(search="")))
        self.assertEqual(["Apple pie", "pear"], self.keys(activeMinutes=1))
        self.assertEqual(3, len(self.keys(agentId="Main")))
        self.assertEqual([], self.keys(agentId="gone"))
        self.assertEqual([], self.keys(archived=True))

    def test_configured_agents_only(self) -> None:
        """Sessions of agents that are gone can be left out; whoever pages sees all pages."""
        self.talk("a", "b")
        self.gateway.use(config_with({"other": AgentEntry()}))
        self.assertEqual(["b", "a"], self.keys())
        answer = self.list(configuredAgentsOnly=True, limit=1)
        self.assertEqual(([], True, 1), (answer["sessions"], answer["hasMore"], answer["nextOffset"]))

    def test_accepted(self) -> None:
        """What clients send about things that are not there changes nothing."""
        names = ("includeGlobal", "includeUnknown", "includeDerivedTitles", "includeLastMessage", "ownerFirst")
        self.talk("a")
        self.assertEqual(["a"], self.keys(**dict.fromkeys(names, True), activeOnly=False))

    def test_refused(self) -> None:
        """What would be answered wrongly is refused."""
        for params, field in (({"activeOnly": True}, "activeOnly"), ({"agentId": "a b"}, "agentId")):
            called = self.gateway.call("sessions.list", params, READER)
            self.assertIn(f"invalid sessions.list params: at /{field}: ", self.refused(called, InvalidRequest).message)
        for bad in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"limit": "all"}, {"activeMinutes": 0}, {"x": 1}):
            self.assertRaises(msgspec.ValidationError, self.gateway.call, "sessions.list", bad)


class RowTests(MethodTestCase):
    """L{session_row} and what it is made of."""

    def session(self, **changes: Any) -> SessionRecord:
        """A session."""
        return attrs.evolve(SessionRecord("agent:main:x", "main", 1000, 2000, 2), **changes)

    def id_of(self, **changes: Any) -> str:
        session = self.session(**changes)
        return session_id(session.key, session.created_at_ms)

    def test_session_id(self) -> None:
        """One id for a session, others for another key or another beginning."""
        first = self.id_of()
        self.assertEqual(first, self.id_of(updated_at_ms=9, entry_count=9))
        others = {self.id_of(key="agent:main:y"), self.id_of(created_at_ms=1001)}
        self.assertEqual(3, len({first, *others}))

    def test_interrupted(self) -> None:
        """A run that the process died under has failed and was aborted; when it ended is not known."""
        run = RunRecord("r", "main", "agent:main:x", "gone/m", "interrupted", 5)
        row = session_row(SessionRow(self.session(), run), Config(), {}, 0)
        self.assertEqual(("failed", True, None), (row["status"], row["abortedLastRun"], row["contextTokens"]))
        self.assertNotIn("runtimeMs", row)

    def test_live_again(self) -> None:
        """A run that has begun since the row was read makes the session a running one."""
        run = RunRecord("r", "main", "agent:main:x", "local/m", "done", 5, 6)
        row = session_row(SessionRow(self.session(), run), Config(), {"agent:main:x": ["new"]}, 0)
        self.assertEqual(("running", ["new"], "r"), (row["status"], row["activeRunIds"], row["lastRunId"]))

    def test_without_run(self) -> None:
        """A session whose run is forgotten shows the model that would answer."""
        row = session_row(SessionRow(self.session(archived_at_ms=7), None), Config(), {}, 0)
        self.assertEqual((True, "smollm2-135m"), (row["archived"], row["model"]))
        self.assertNotIn("status", row)

    def test_estimated(self) -> None:
        """Figures that are estimates say so; a clock that was set back gives no negative time."""
        run = RunRecord("r", "main", "agent:main:x", "local/m", "done", 5, 3, Usage(4, 2, estimated=True))
        row = session_row(SessionRow(self.session(), run), Config(), {}, 0)
        self.assertEqual((0, False, 4), (row["runtimeMs"], row["totalTokensFresh"], row["inputTokens"]))

    def test_live_ids(self) -> None:
        """Runs by session, each by the id that its client knows."""
        self.ask("hi", idempotencyKey="k")
        self.gateway.bench.start("hi", key="x")
        live = live_ids(self.gateway.runs.live)
        self.assertEqual({"agent:main:main": ["k"], "agent:main:x": ["chatcmpl_1"]}, live)

    def test_context_tokens(self) -> None:
        """What the configuration says of a model."""
        models = (
            ModelConfig("small", context_window=1000),
            ModelConfig("cut", context_window=1000, context_tokens=500),
        )
        config = Config(models=ModelsConfig(providers={"p": ProviderConfig("http://x/v1", models=models)}))
        expected = {"p/small": 1000, "p/cut": 500, "p/unlisted": 200_000, "q/m": None, "local/smollm2-135m": 4096}
        self.assertEqual(expected, {ref: context_tokens(config, ref) for ref in expected})

    def test_no_default(self) -> None:
        """Where no agent is the default there is no default model; a named one's is."""
        config = config_with({"a": AgentEntry(model=ModelChoice("p/m")), "b": AgentEntry()})
        self.assertIsNone(model_defaults(config, "gone")["model"])
        self.assertEqual("m", model_defaults(config, "a")["model"])


class FindTests(MethodTestCase):
    """L{find_session}."""

    def test_find(self) -> None:
        """Exactly the key, wherever it stands among those that contain it."""
        self.patch(session_rows, "PAGE", 2)
        for number, rest in enumerate(["x", "xx", "xy", "x1", "x2"]):
            key = f"agent:main:{rest}"
            run = RunRecord(f"r{number}", "main", key, "local/m", "running", number)
            entry = Entry(f"{number:032x}", None, run.run_id, user("hi"), number)
            self.successResultOf(self.gateway.store.begin_run(run, (entry,)))

        def find(key: str) -> SessionRow | None:
            return self.successResultOf(
                Deferred.fromCoroutine(find_session(self.gateway.store, self.gateway.clock, key))
            )

        for rest in ("x", "xx", "x2"):
            row = find(f"agent:main:{rest}")
            self.assertEqual(f"agent:main:{rest}", row and row.session.key)
        for key in ("agent:main:X", "agent:main:nope", "main"):
            self.assertIsNone(find(key))
        self.successResultOf(self.gateway.store.archive_sessions(3, 0, 9, 100))
        row = find("agent:main:x")
        self.assertEqual(("agent:main:x", 9), row and (row.session.key, row.session.archived_at_ms))
