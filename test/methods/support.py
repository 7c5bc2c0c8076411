"""The methods of a gateway in memory: a scripted model, a store, a clock; called as the connections call them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth.scopes import ADMIN, READ, WRITE
from openclaw.config.reload import LiveConfig
from openclaw.config.schema import Config
from openclaw.errors import OpenClawError
from openclaw.events import ProviderFinished, ProviderUsage, TextDelta
from openclaw.interfaces import Caller
from openclaw.messages import Usage
from openclaw.methods.table import Call
from openclaw.parts import Parts
from openclaw.records import Entry
from openclaw.service.compose import make_methods
from openclaw.service.stop import STOP_ORDER
from openclaw.sharing.joins import Joins
from openclaw.stores import IdempotencyStore, SessionStore
from openclaw.waits import now_ms
from test.fakes import Bench
from test.gateway import make_core

ADMINISTRATOR = Caller("operator", frozenset({ADMIN}))
WRITER = Caller("operator", frozenset({WRITE}))
READER = Caller("operator", frozenset({READ}))
NOBODY = Caller("operator", frozenset())

USAGE = Usage(120, 5, cached_tokens=20)
"""What the scripted model says that an answer cost."""


class Called:
    """
    A call under way.

    @ivar first: the responses before the last one.
    @ivar result: the last one's payload.
    @ivar error: why there is none.
    """

    def __init__(self) -> None:
        self.first: list[Mapping[str, Any]] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = False
        self.running: Deferred[Any] | None = None

    def follow(self, running: Deferred[Any]) -> None:
        """Note how the call ends."""
        self.running = running
        running.addCallbacks(self._done, self._failed)

    def _done(self, result: Any) -> None:
        self.result, self.over = result, True

    def _failed(self, failure: Any) -> None:
        self.error, self.over = failure.value, True


class MethodBench:
    """All methods, with everything that they need in the hands of a test."""

    def __init__(
        self, folder: Path, config: Config | None = None, store: SessionStore | None = None, **environ: str
    ) -> None:
        self.bench = Bench(store, config)
        self.clock = self.bench.clock
        self.provider = self.bench.provider
        self.store = self.bench.store
        self.runs = self.bench.runs
        self.live = LiveConfig(self.bench.config)
        self.present: list[Mapping[str, Any]] = []
        self.folder = folder
        core = make_core(self.clock, self.live, self.store, self.runs, folder=folder, environ=environ)
        self.health = core.health
        self.paths = core.plan.paths
        self.parts = Parts(self.clock, STOP_ORDER)
        # The stores of tests keep keys, too.
        self.joins = Joins(self.runs, cast(IdempotencyStore, self.store), self.clock)
        self.methods = make_methods(core, self.parts, self.joins, lambda: self.present)
        self.table = self.methods.table

    def stop(self) -> Deferred[None]:
        """Stop all but the runs."""
        return Deferred.fromCoroutine(self.parts.stop())

    def use(self, config: Config) -> None:
        """Let another configuration apply from now on."""
        self.bench.config = config
        self.live.replace(config)

    def call(self, method: str, params: Mapping[str, Any] | None = None, caller: Caller = WRITER) -> Called:
        """
        Call a method, whatever scope it needs.

        @raise msgspec.ValidationError: if the parameters do not have its shape.
        """
        row = self.table.find(method)
        assert row is not None
        called = Called()
        decoded = msgspec.json.decode(msgspec.json.encode(params or {}), type=row.params)
        call = Call(caller, "connection-1", "cli", called.first.append)

        async def run() -> Any:
            return await row.run(call, decoded)

        called.follow(Deferred.fromCoroutine(run()))
        return called

    def answer(self, *texts: str) -> None:
        """Have the model's next answer be this."""
        batches = [[TextDelta(text)] for text in texts]
        self.provider.enqueue(*batches, [ProviderUsage(USAGE), ProviderFinished("stop")])

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return now_ms(self.clock)


class MethodTestCase(SynchronousTestCase):
    """With a L{MethodBench}."""

    config: Config | None = None

    def make_store(self) -> SessionStore | None:
        """The store to use; C{None} for one in memory."""
        return None

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.gateway = MethodBench(folder, self.config, self.make_store())

    def ok(self, called: Called) -> Any:
        """The payload of a call that succeeded."""
        self.assertIsNone(called.error)
        self.assertTrue(called.over, "the call goes on")
        return called.result

    def refused(self, called: Called, kind: type[OpenClawError] = OpenClawError) -> OpenClawError:
        """The error of a call that failed."""
        self.assertIsInstance(called.error, kind)
        assert isinstance(called.error, OpenClawError)
        return called.error

    def ask(self, message: str, **params: Any) -> Called:
        """Call C{agent}."""
        return self.gateway.call("agent", {"message": message, **params})

    def branch(self, key: str = "agent:main:main") -> tuple[Entry, ...]:
        """What is stored of a session."""
        return self.successResultOf(self.gateway.store.branch(key))

    def texts(self, key: str = "agent:main:main") -> list[str]:
        """The texts of a session."""
        return [entry.message.text for entry in self.branch(key)]

    def settle(self) -> None:
        """Let what was put off to the reactor's next turn happen."""
        self.gateway.clock.advance(0)
