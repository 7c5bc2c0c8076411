"""Runs in random interleavings: whatever happens, each ends exactly once and nothing is left."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.resolve import Selection
from openclaw.agents.runs import Runs
from openclaw.config.agents import ModelChoice
from openclaw.config.models import ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.errors import (
    Draining,
    Overloaded,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderRateLimited,
    RunCancelled,
    StoreError,
)
from openclaw.events import ProviderFinished, RunFailed, TextDelta
from openclaw.messages import Message
from openclaw.providers.scripted import ScriptedStream
from openclaw.records import Entry, Transcript
from openclaw.sessions.keys import Manner
from test.fakes import Bench, HeldStore, Started, assistant, config_with, user

_KEYS = ("openai-chat:a", "b", None)
_KINDS = (
    "start",
    "start",
    "title",
    "chat",
    "chat",
    "go on",
    "retry",
    "release",
    "release",
    "text",
    "text",
    "end",
    "fail",
    "busy",
    "cancel",
    "tick",
    "limit",
    "outage",
    "reload",
    "break",
)
_CHATS = tuple(Selection(chat_id=("X-OpenWebUI-Chat-Id", name)) for name in ("a", "c"))
_FALLBACKS: tuple[tuple[str, ...], ...] = ((), ("q/b",), ("p/b",), ("p/b", "q/b"))
_STREAMED = Manner(streamed=True)
_STEPS = st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(0, 30)), min_size=10, max_size=80)
_HOLDS = st.sets(st.sampled_from(("transcript", "begin_run", "end_run")))


class _Interleaving:
    def __init__(self, holds: set[str], max_concurrent: int, parallel: int, fallbacks: tuple[str, ...]) -> None:
        self.store = HeldStore(*holds)
        self.max_concurrent = max_concurrent
        self.fallbacks = fallbacks
        self.parallel = parallel
        self.bench = Bench(self.store, self.config())
        self.started: list[Started] = []
        # For each run the first one of the same request.
        self.roots: list[int] = []
        self.settings: list[dict[str, Any]] = []
        self.before: list[tuple[Message, ...]] = []
        self.cancelled: set[int] = set()
        self.fed_to_the_end: set[ScriptedStream] = set()

    def config(self) -> Config:
        providers = {name: ProviderConfig("http://127.0.0.1/v1", max_concurrent=self.parallel) for name in "pq"}
        model = ModelChoice("p/a", self.fallbacks)
        models = Config(models=ModelsConfig(providers=providers))
        return config_with(config=models, model=model, max_concurrent=self.max_concurrent, max_queued=6)

    def open_streams(self) -> list[ScriptedStream]:
        streams = self.bench.provider.streams
        return [stream for stream in streams if not (stream.closed or stream.aborted or stream in self.fed_to_the_end)]

    def step(self, kind: str, number: int) -> None:
        if kind == "start":
            self.start(key=_KEYS[number % 3])
        elif kind == "title":
            self.start(selection=_CHATS[number % 2])
        elif kind == "chat":
            self.start(selection=_CHATS[number % 2], manner=_STREAMED)
        elif kind == "go on" and self.started:
            self.go_on(number % len(self.started))
        elif kind == "reload":
            # Not to fewer than there may be at work.
            self.parallel += number % 2
            self.bench.config = self.config()
            self.bench.runs.limits_changed()
        elif kind == "retry" and self.started:
            self.retry(number % len(self.started))
        elif kind == "release" and self.store.held:
            self.store.release()
        elif kind == "tick":
            self.bench.clock.advance((0, 0.3, 2.0)[number % 3])
        elif kind == "break":
            name = ("transcript", "begin_run", "end_run")[number % 3]
            self.store.failures.setdefault(name, []).append(StoreError("the disk is full"))
        elif kind == "cancel" and self.started:
            self.cancel(number % len(self.started))
        elif self.open_streams():
            self.feed(kind, self.open_streams()[number % len(self.open_streams())])

    def start(self, *before: Message, **settings: Any) -> None:
        number = len(self.started)
        self.roots.append(number)
        self.settings.append(settings)
        self.before.append(before)
        self.started.append(self.bench.start(*before, f"u{number}", **settings))

    def go_on(self, number: int) -> None:
        """What a user says next who sees so much of an answer, with all that was said before."""
        started, settings = self.started[number], self.settings[number]
        if settings.get("selection") is not None and started.reader is not None:
            shown = started.reader.text
            before = (*self.before[number], user(f"u{self.roots[number]}"), *([assistant(shown)] if shown else []))
            self.start(*before, selection=settings["selection"], manner=_STREAMED)

    def retry(self, number: int) -> None:
        """Send a request again whose run has failed, as a client's library does."""
        root, outcome = self.roots[number], self.started[number].outcome
        if outcome is not None and outcome.error is not None:
            self.roots.append(root)
            self.settings.append(self.settings[root])
            self.before.append(self.before[root])
            again = {"retry_of": f"chatcmpl_{root + 1}", "one_attempt": True}
            self.started.append(self.bench.start(*self.before[root], f"u{root}", **again, **self.settings[root]))

    def cancel(self, number: int) -> None:
        started = self.started[number]
        self.cancelled.add(number)
        if started.run is not None:
            started.run.cancel()
        else:
            started.starting.cancel()

    def feed(self, kind: str, stream: ScriptedStream) -> None:
        if kind == "text":
            stream.push(TextDelta("x"))
        else:
            self.fed_to_the_end.add(stream)
        if kind == "end":
            stream.push(TextDelta("y"), ProviderFinished("stop"))
            stream.end()
        elif kind == "fail":
            stream.fail(ProviderAuthFailed("no"))
        elif kind == "busy":
            stream.fail(ProviderOverloaded("busy"))
        elif kind == "outage":
            stream.fail(ProviderFailed("reset"))
        elif kind == "limit":
            stream.fail(ProviderRateLimited("slow down", retry_after_s=0.5))

    def finish(self) -> None:
        """Stop the gateway, with a disk that works from now on."""
        self.store.failures.clear()
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(5.0))
        for _ in range(4):
            self.bench.clock.advance(5.0)
            while self.store.held:
                self.store.release()
        assert stopping.called


class RandomTests(SynchronousTestCase):
    def check_run(self, number: int, started: Started, cancelled: bool) -> None:
        if started.run is None:
            allowed = (CancelledError,) if cancelled else ()
            self.assertIsInstance(started.error, (StoreError, Overloaded, Draining, *allowed))
            return
        assert started.reader is not None and started.outcome is not None
        self.assertTrue(started.reader.over)
        (terminal,) = started.reader.terminal
        self.assertIs(terminal, started.reader.events[-1])
        self.assertEqual(started.reader.text, started.outcome.text)
        if isinstance(terminal, RunFailed):
            self.assertIs(terminal.error, started.outcome.error)
            self.assertEqual(bool(started.reader.text), terminal.produced_output)
            if isinstance(terminal.error, RunCancelled):
                self.assertTrue(cancelled)

    def check_nothing_is_left(self, runs: Runs) -> None:
        # A place that nobody gave back is seen by no other run before all of them are lost so.
        lanes = runs._lanes
        self.assertTrue(lanes.is_empty, (lanes.running, lanes.waiting))
        self.assertTrue(runs._paces.is_idle)
        self.assertTrue(runs.is_idle)
        self.assertEqual(({}, {}), (runs._turns._roots, runs._turns._founding))

    def check_branch(self, branch: tuple[Entry, ...]) -> None:
        """The turns are in the order of their admission."""
        turns = [int(entry.message.text[1:]) for entry in branch if entry.message.role == "user"]
        self.assertEqual(sorted(set(turns)), turns)
        for before, after in pairwise(branch):
            self.assertEqual(before.id, after.parent_id)

    def check_transcript(self, transcript: Transcript, roots: list[int]) -> None:
        """No turn is there twice, and each answer follows its own turn."""
        turns = [entry.message.text for entry in transcript.entries if entry.message.role == "user"]
        self.assertEqual(sorted(set(turns)), sorted(turns))
        by_id = {entry.id: entry for entry in transcript.entries}
        for entry in transcript.entries:
            # What a client brings along has no reason.
            if entry.stop_reason is not None:
                turn = by_id[entry.parent_id or ""]
                root = roots[int(entry.run_id.removeprefix("chatcmpl_")) - 1]
                self.assertEqual(("user", f"u{root}"), (turn.message.role, turn.message.text))
        for root_id in transcript.detached:
            self.assertIsNone(by_id[root_id].parent_id)

    def check_chat(self, transcript: Transcript, branch: tuple[Entry, ...]) -> None:
        """What was asked for on the side takes nobody's place, and what a user said is kept."""
        extended = {branch[0].id} if any(entry.message.role == "user" for entry in branch[1:]) else set()
        streamed = {entry.id for entry in transcript.entries if entry.streamed}
        if streamed:
            self.assertIn(branch[0].id, streamed | extended)
        roots = {entry.id for entry in transcript.entries if entry.parent_id is None}
        self.assertEqual(roots - transcript.detached, {entry.id for entry in branch[:1]})

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(_HOLDS, st.integers(1, 3), st.integers(1, 3), st.sampled_from(_FALLBACKS), _STEPS)
    def test_each_ends_once(
        self,
        holds: set[str],
        max_concurrent: int,
        parallel: int,
        fallbacks: tuple[str, ...],
        steps: list[tuple[str, int]],
    ) -> None:
        interleaving = _Interleaving(holds, max_concurrent, parallel, fallbacks)
        runs = interleaving.bench.runs
        for kind, number in steps:
            interleaving.step(kind, number)
            # Who runs is between the runs and their lanes: one that is being stored has a place, too, and one beside
            # the history may be at work in a session together with another.
            self.assertLessEqual(runs._lanes.running, max_concurrent)
            for name in "pq":
                self.assertLessEqual(runs._paces.of(name).in_use, interleaving.parallel)
            # What begins a chat has a lane of its own.
            works = [work for work in runs._live.values() if not work.placed.detached and work.placed.branch]
            sessions = [str(work.run.target.session_key) for work in works if work.run.target.is_stable]
            self.assertEqual(len(sessions), len(set(sessions)))
        interleaving.finish()
        for number, started in enumerate(interleaving.started):
            self.check_run(number, started, number in interleaving.cancelled)
        self.check_nothing_is_left(runs)
        self.assertTrue(all(stream.closed for stream in interleaving.bench.provider.streams))
        for key in ("agent:main:openai-chat:a", "agent:main:openai-chat:c", "agent:main:b"):
            branch = self.successResultOf(interleaving.store.inner.branch(key))
            self.check_branch(branch)
            transcript = self.successResultOf(interleaving.store.inner.transcript(key))
            if key.endswith(":c"):
                self.check_chat(transcript, branch)
            self.check_transcript(transcript, interleaving.roots)
            # What is remembered must be what is stored; nobody else sees the two apart.
            kept = runs._turns.transcripts.peek(key)
            if kept is not None:
                self.assertEqual(transcript.entries, kept.entries)
                self.assertEqual((transcript.tip_id, transcript.detached), (kept.tip_id, kept.detached))
        # The end of a run that was cancelled while its turn was being stored may find the disk full.
        self.flushLoggedErrors(StoreError)
