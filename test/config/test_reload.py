"""Edits of the file while the gateway runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.auth_mode import effective_auth
from openclaw.config.load import load_config
from openclaw.config.reload import POLL_INTERVAL_S, ConfigWatcher, LiveConfig, changed_keys
from openclaw.config.schema import Config

from .documents import one_provider


class ConfigWatcherTests(SynchronousTestCase):
    """L{ConfigWatcher} on a clock of its own; the thread is a plain call."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "openclaw.json"
        self.writes = 0
        self.environ: dict[str, str] = {}
        self.clock = Clock()
        self.log: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        """Keep what is logged by the module."""
        if event.get("log_namespace") == "openclaw.config.reload":
            self.log.append(formatEvent(event))

    def write(self, auth: dict[str, Any] | str, **gateway: Any) -> None:
        """Write the file, at a time of its own."""
        text = auth if isinstance(auth, str) else json.dumps({"gateway": {"auth": auth, **gateway}})
        self.path.write_text(text)
        self.path.chmod(0o600)
        self.writes += 1
        os.utime(self.path, ns=(self.writes, self.writes))

    def start(self, read_in_thread: Callable[..., Deferred[Any]] = execute) -> None:
        """Load the file and start to watch it."""
        self.loaded = load_config(self.path, self.environ)
        self.live = LiveConfig(self.loaded.config)
        self.watcher = ConfigWatcher(self.live, self.path, self.environ, self.clock, read_in_thread)
        self.watcher.startService()
        self.addCleanup(self.watcher.stopService)

    def edit(self, auth: dict[str, Any] | str, **gateway: Any) -> list[str]:
        """Write the file, let the watcher look, and give what it logged."""
        self.log.clear()
        self.write(auth, **gateway)
        self.clock.advance(POLL_INTERVAL_S)
        return list(self.log)

    def secret(self) -> str | None:
        """The secret that applies now."""
        found = effective_auth(self.live.current, self.loaded.environ).secret
        return found.reveal() if found else None

    def test_token(self) -> None:
        """A new token applies within half a second; its value is not logged."""
        self.write({"token": "one"})
        self.start()
        self.assertEqual([], self.log)
        self.clock.advance(POLL_INTERVAL_S / 2)
        self.write({"token": "two"})
        self.assertEqual("one", self.secret())
        self.clock.advance(POLL_INTERVAL_S / 2)
        self.assertEqual("two", self.secret())
        self.assertEqual(["config change: applied: gateway.auth.token; needs a restart: nothing"], self.log)
        self.clock.advance(10)
        self.assertEqual(1, len(self.log))

    def test_password(self) -> None:
        """So does a new password, with the mode said or not."""
        self.write({"mode": "password", "password": "one", "token": "t"})
        self.start()
        self.assertEqual(
            ["config change: applied: gateway.auth.password; needs a restart: gateway.auth.mode, gateway.auth.token"],
            self.edit({"password": "two"}),
        )
        self.assertEqual("two", self.secret())
        self.assertEqual("password", self.live.current.gateway.auth.mode)

    def test_others_need_a_restart(self) -> None:
        """Other settings are named, with their names on disk, and do not apply; a second look is silent."""
        self.write({"token": "one"})
        self.start()
        line = "config change: applied: {}; needs a restart: gateway.port, gateway.auth.rateLimit"
        limit = {"maxAttempts": 3}
        self.assertEqual([line.format("nothing")], self.edit({"token": "one", "rateLimit": limit}, port=5))
        self.assertEqual([], self.edit({"token": "one", "rateLimit": limit}, port=5))
        self.assertEqual([line.format("gateway.auth.token")], self.edit({"token": "two", "rateLimit": limit}, port=5))
        self.assertEqual("two", self.secret())
        self.assertEqual(18789, self.live.current.gateway.port)
        self.assertEqual(["config change: applied: nothing; needs a restart: nothing"], self.edit({"token": "two"}))

    def test_invalid(self) -> None:
        """An invalid edit is logged once, and the running configuration stays."""
        self.write({"token": "one"})
        self.start()
        self.assertEqual(
            [
                "config reload skipped (invalid config), the running one stays: "
                'gateway.port: must be between 1 and 65535, got 0; gateway: unknown key "x"'
            ],
            self.edit({"token": "two"}, port=0, x=1),
        )
        self.clock.advance(10)
        self.assertEqual(1, len(self.log))
        self.assertEqual("one", self.secret())
        self.assertEqual(1, len(self.edit("{ half")))
        self.assertEqual(1, len(self.edit({"token": "two"})))
        self.assertEqual("two", self.secret())

    def test_vanished_token(self) -> None:
        """A token that is gone, blank or not resolved never opens the gateway: the old one stays."""
        self.write({"mode": "token", "token": "one"})
        self.start()
        for auth in (
            {"mode": "token"},
            {"mode": "token", "token": " "},
            {"mode": "token", "token": "${NOT_SET}"},
            {"mode": "token", "token": {"source": "env", "id": "NOT_SET"}},
            {},
        ):
            log = self.edit(auth)
            self.assertIn("config reload: the credential stays as it was: no credential", log[0])
            self.assertEqual("one", self.secret())
        for auth in ({"token": "tw\no"}, {"mode": "token", "token": "two\0"}):
            self.assertIn("stays as it was: gateway.auth.token holds a line break", self.edit(auth)[0])
            self.assertEqual("one", self.secret())
        self.assertIn("token and password are both set", self.edit({"token": "a", "password": "b"})[0])
        self.assertEqual("one", self.secret())

    def test_other_mode(self) -> None:
        """Another mode needs a restart; until then the old secret stays, also if the new mode is none."""
        self.write({"mode": "token", "token": "one"})
        self.start()
        for auth, keys in [
            ({"mode": "none"}, "gateway.auth.mode, gateway.auth.token"),
            ({"mode": "password", "password": "p"}, "gateway.auth.mode, gateway.auth.token, gateway.auth.password"),
        ]:
            self.assertEqual([f"config change: applied: nothing; needs a restart: {keys}"], self.edit(auth))
            self.assertEqual("one", self.secret())

    def test_token_of_the_environment(self) -> None:
        """A file that leaves the token to the environment gets it from there, and that of an edited .env too."""
        self.environ = {"OPENCLAW_GATEWAY_TOKEN": "env"}
        self.write({"token": "one"})
        self.start()
        self.assertEqual(["config change: applied: gateway.auth.token; needs a restart: nothing"], self.edit({}))
        self.assertEqual("env", self.secret())
        self.assertEqual([], self.edit({"token": "env"}))

    def test_gone(self) -> None:
        """A file that is gone changes nothing; it is read when it is back."""
        self.write({"token": "one"})
        self.start()
        self.path.unlink()
        self.clock.advance(POLL_INTERVAL_S * 3)
        self.assertEqual(["the configuration file is gone; the running configuration stays"], self.log)
        self.assertEqual("one", self.secret())
        self.edit({"token": "two"})
        self.assertEqual("two", self.secret())

    def test_appears(self) -> None:
        """A gateway that was started without a file notices one."""
        self.environ = {"OPENCLAW_GATEWAY_TOKEN": "env"}
        self.start()
        self.clock.advance(POLL_INTERVAL_S)
        self.assertEqual([], self.log)
        self.assertEqual(1, len(self.edit({"token": "file"})))
        self.assertEqual("file", self.secret())

    def test_changed_before_the_first_look(self) -> None:
        """An edit between load and start is not missed."""
        self.write({"token": "one"})
        loaded = load_config(self.path, {})
        self.write({"token": "two"})
        live = LiveConfig(loaded.config)
        watcher = ConfigWatcher(live, self.path, {}, self.clock, execute)
        watcher.startService()
        self.addCleanup(watcher.stopService)
        token = live.current.gateway.auth.token
        assert token is not None
        self.assertEqual("two", token.reveal())

    def test_command_line(self) -> None:
        """What the command line changed is no edit of the file."""
        self.write({"token": "one"})
        loaded = load_config(self.path, {})

        def as_run(config: Config) -> Config:
            return attrs.evolve(config, gateway=attrs.evolve(config.gateway, bind="lan"))

        live = LiveConfig(as_run(loaded.config))
        watcher = ConfigWatcher(live, self.path, {}, self.clock, execute, as_run=as_run)
        watcher.startService()
        self.addCleanup(watcher.stopService)
        self.assertEqual([], self.log)
        self.assertEqual(
            ["config change: applied: gateway.auth.token; needs a restart: gateway.port"],
            self.edit({"token": "two"}, port=5),
        )
        self.assertEqual("lan", live.current.gateway.bind)
        log = self.edit({"mode": "none"})
        self.assertIn('the credential stays as it was: gateway.auth.mode "none" needs gateway.bind "loopback"', log[0])

    def test_off(self) -> None:
        """C{gateway.reload.mode: "off"} does not look."""
        self.write({"token": "one"}, reload={"mode": "off"})
        self.start()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.edit({"token": "two"})
        self.assertEqual("one", self.secret())
        self.assertIsNone(self.successResultOf(self.watcher.stopService()))

    def test_stop(self) -> None:
        """A stop ends the looking, and waits for a look under way, whose result is not applied."""
        reads: list[Deferred[Any]] = []

        def read_in_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            reads.append(Deferred())
            return reads[-1].addCallback(lambda _: function(*args))

        self.write({"token": "one"})
        self.start(read_in_thread)
        self.clock.advance(10)
        self.assertEqual(1, len(reads), "one look at a time")
        self.write({"token": "two"})
        stopped = self.watcher.stopService()
        self.assertNoResult(stopped)
        reads[0].callback(None)
        self.successResultOf(stopped)
        self.assertEqual("one", self.secret())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_failing_look(self) -> None:
        """A bug in a look is logged, and the next look happens."""
        failing = [ZeroDivisionError()]

        def read_in_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            if failing:
                raise failing.pop()
            return execute(function, *args)

        self.write({"token": "one"})
        self.start(read_in_thread)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.edit({"token": "two"})
        self.assertEqual("two", self.secret())

    def test_cancelled_look(self) -> None:
        """Cancelling is not taken for a bug: the loop ends with it."""

        def read_in_thread(*_: Any) -> Deferred[Any]:
            raise CancelledError

        self.write({"token": "one"})
        self.start(read_in_thread)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.failureResultOf(self.watcher.stopService(), CancelledError)


class ChangedKeysTests(SynchronousTestCase):
    """L{changed_keys}."""

    def test_names(self) -> None:
        """Records and maps are walked, what was added or removed is named as a whole."""
        from openclaw.config.load import parse_config

        old = parse_config({**one_provider(apiKey="a"), "agents": {"entries": {"x": {}}}}, {})[0]
        new = parse_config(
            {**one_provider(apiKey="b", maxTokens=5), "agents": {"entries": {"y": {}}}, "env": {"A": "1"}}, {}
        )[0]
        self.assertEqual(
            [
                "models.providers.p.apiKey",
                "models.providers.p.maxTokens",
                "agents.entries.x",
                "agents.entries.y",
                "env.A",
            ],
            list(changed_keys(old, new)),
        )
        self.assertEqual([], list(changed_keys(old, old)))
