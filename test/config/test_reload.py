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

from openclaw.config import reload as reload_module
from openclaw.config.auth_mode import effective_auth
from openclaw.config.load import LoadedConfig, load_config
from openclaw.config.reload import (
    MAX_KEYS_TOLD,
    MAX_WAIT_S,
    POLL_INTERVAL_S,
    READS_IN_PASSING,
    ConfigWatcher,
    LiveConfig,
)
from openclaw.config.schema import Config
from openclaw.errors import StartError


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
        self.write_to(self.path, text)

    def write_to(self, path: Path, text: str) -> None:
        """Write a file, at a time of its own."""
        path.write_text(text)
        path.chmod(0o600)
        self.writes += 1
        os.utime(path, ns=(self.writes, self.writes))

    def settle(self) -> None:
        """Let the watcher look twice: once to find an edit, once to see that it is still the same."""
        self.clock.pump([POLL_INTERVAL_S] * 2)

    def start(self, read_in_thread: Callable[..., Deferred[Any]] = execute) -> None:
        """Load the file and start to watch it."""
        self.loaded = load_config(self.path, self.environ)
        self.live = LiveConfig(self.loaded.config, self.loaded.environ)
        self.watcher = ConfigWatcher(self.live, self.path, self.environ, self.clock, read_in_thread)
        self.watcher.startService()
        self.addCleanup(self.watcher.stopService)
        self.settle()

    def edit(self, auth: dict[str, Any] | str, **gateway: Any) -> list[str]:
        """Write the file, let the watcher look, and give what it logged."""
        self.log.clear()
        self.write(auth, **gateway)
        self.settle()
        return list(self.log)

    def edit_document(self, document: dict[str, Any], token: str = "one") -> list[str]:
        """The same with a whole document, whose token stays."""
        return self.edit(json.dumps({"gateway": {"auth": {"token": token}}, **document}))

    def secret(self) -> str | None:
        """The secret that applies now."""
        found = effective_auth(self.live.current, self.loaded.environ).secret
        return found.reveal() if found else None

    def test_token(self) -> None:
        """A new token applies at the second look; its value is not logged."""
        self.write({"token": "one"})
        self.start()
        self.assertEqual([], self.log)
        self.clock.advance(POLL_INTERVAL_S / 2)
        self.write({"token": "two"})
        self.assertEqual("one", self.secret())
        self.clock.advance(POLL_INTERVAL_S / 2)
        self.assertEqual("one", self.secret())
        self.clock.advance(POLL_INTERVAL_S)
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
        line = "config change: applied: {}; needs a restart: gateway.port, gateway.bind"
        other = {"port": 5, "bind": "lan"}
        self.assertEqual([line.format("nothing")], self.edit({"token": "one"}, **other))
        self.assertEqual([], self.edit({"token": "one"}, **other))
        self.assertEqual([line.format("gateway.auth.token")], self.edit({"token": "two"}, **other))
        self.assertEqual("two", self.secret())
        self.assertEqual((18789, "loopback"), (self.live.current.gateway.port, self.live.current.gateway.bind))
        self.assertEqual(("gateway.port", "gateway.bind"), self.live.pending)
        self.assertEqual(["config change: applied: nothing; needs a restart: nothing"], self.edit({"token": "two"}))
        self.assertEqual((), self.live.pending)

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
        self.settle()
        gone = ["the configuration file is gone; the running configuration stays"]
        self.assertEqual((gone, "one"), (self.log, self.secret()))
        assert self.live.last_reload is not None
        self.assertEqual("gone", self.live.last_reload.status)
        self.write_to(self.path.parent / ".env", "OPENCLAW_GATEWAY_TOKEN=env")
        self.settle()
        self.assertEqual((gone, "one"), (self.log, self.secret()))
        self.write({"token": "one"})
        self.settle()
        self.assertEqual("applied", self.live.last_reload.status)
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
        self.settle()
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
        self.settle()
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
        held = False

        def read_in_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            reads.append(Deferred())
            reads[-1].addCallback(lambda _: function(*args))
            if not held:
                reads[-1].callback(None)
            return reads[-1]

        self.write({"token": "one"})
        self.start(read_in_thread)
        self.write({"token": "two"})
        self.clock.advance(POLL_INTERVAL_S)
        reads.clear()
        held = True
        self.clock.advance(10)
        self.assertEqual(1, len(reads), "one look at a time")
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

    def test_file_that_is_being_written(self) -> None:
        """What changes between two looks, or while it is read, is not judged."""
        self.write({"token": "one"})
        self.start()
        self.log.clear()
        for half in ("{", '{"gateway"', '{"gateway": {"auth": {"token": "two"}}'):
            self.write(half)
            self.clock.advance(POLL_INTERVAL_S)
        self.assertEqual(([], "one"), (self.log, self.secret()))
        real = reload_module.load_config

        def slow(*arguments: Any) -> LoadedConfig:
            loaded = real(*arguments)
            self.write({"token": "three"})
            return loaded

        self.patch(reload_module, "load_config", slow)
        self.write({"token": "two"})
        self.settle()
        self.assertEqual("one", self.secret())
        self.patch(reload_module, "load_config", real)
        self.clock.advance(POLL_INTERVAL_S)
        self.assertEqual("three", self.secret())

    def keep_writing(self, texts: Callable[[int], str], seconds: float, path: Path | None = None) -> None:
        """Have the file changed before every look."""
        for number in range(round(seconds / POLL_INTERVAL_S)):
            self.write_to(path or self.path, texts(number))
            self.clock.advance(POLL_INTERVAL_S)

    def test_file_that_is_written_again_and_again(self) -> None:
        """It is judged after a while, and again after as long."""
        self.write({"token": "one"})
        self.start()

        def texts(number: int) -> str:
            return json.dumps({"gateway": {"auth": {"token": f"t{number}"}}})

        self.keep_writing(texts, MAX_WAIT_S)
        self.assertEqual("one", self.secret())
        self.keep_writing(texts, 3 * POLL_INTERVAL_S)
        first = self.secret()
        self.assertIn(first, ("t0", "t1", "t2"))
        self.keep_writing(lambda _: texts(50), MAX_WAIT_S - 3 * POLL_INTERVAL_S)
        self.assertEqual(first, self.secret())
        self.keep_writing(lambda _: texts(51), 5 * POLL_INTERVAL_S)
        self.assertEqual("t51", self.secret())
        self.write({"token": "two"})
        self.settle()
        self.assertEqual("two", self.secret())

    def test_edits_with_pauses_are_not_taken_for_one(self) -> None:
        """What was at rest meanwhile counts anew."""
        self.write({"token": "one"})
        self.start()
        for _ in range(3):
            self.keep_writing(lambda number: "{" * number, MAX_WAIT_S - 2 * POLL_INTERVAL_S)
            self.edit({"token": "two"})
            self.assertEqual("two", self.secret())
            os.utime(self.path, ns=(1, 1))
            self.settle()
        self.keep_writing(lambda _: '{"gateway": {"auth": {"token": "three"}}}', MAX_WAIT_S)
        self.assertEqual("two", self.secret())

    def test_halves_that_are_written_again_and_again(self) -> None:
        """Half a file is neither applied nor complained of, however long that goes on; at rest it is."""
        self.write({"token": "one"})
        self.start()
        self.log.clear()
        text = '{"gateway": {"auth": {"token": "two"}}}'
        self.keep_writing(lambda number: text[: number % len(text)], 3 * MAX_WAIT_S)
        self.assertEqual(([], "one", None), (self.log, self.secret(), self.live.last_reload))
        self.write(text)
        self.clock.advance(POLL_INTERVAL_S)
        self.assertEqual("two", self.secret())
        self.assertEqual(1, len(self.edit("{ half")))

    def test_missing_now_and_then(self) -> None:
        """A file that is removed before it is written anew is not taken for one that is gone."""
        self.write({"token": "one"})
        self.start()
        self.log.clear()
        for number in range(40):
            if number % 2:
                self.path.unlink()
            else:
                self.write({"token": "one"})
            self.clock.advance(POLL_INTERVAL_S)
        self.assertEqual([], self.log)

    def test_missing_while_it_is_read_in_passing(self) -> None:
        """The defaults are not applied in place of a file that is there before and after."""
        self.write({"token": "one"})
        self.start()
        real, found = reload_module.load_config, []

        def unlucky(*arguments: Any) -> LoadedConfig:
            text = self.path.read_text()
            self.path.unlink()
            loaded = real(*arguments)
            found.append(loaded.exists)
            self.write(text)
            return loaded

        self.patch(reload_module, "load_config", unlucky)
        self.log.clear()
        self.keep_writing(lambda _: "{gateway: {auth: {token: 'two'}}}", MAX_WAIT_S + 3 * POLL_INTERVAL_S)
        self.assertEqual({False}, set(found))
        self.assertEqual((None, []), (self.live.last_reload, self.log))

    def test_changed_while_it_is_read_in_passing(self) -> None:
        """Only what is the same before and after it was read is judged."""
        self.write({"token": "one"})
        self.start()
        real, reads = reload_module.load_config, 0

        def slow(*arguments: Any) -> LoadedConfig:
            nonlocal reads
            reads += 1
            loaded = real(*arguments)
            self.write({"token": f"t{reads}"})
            return loaded

        self.patch(reload_module, "load_config", slow)
        self.keep_writing(lambda _: "{gateway: {auth: {token: 'two'}}}", MAX_WAIT_S + 3 * POLL_INTERVAL_S)
        self.assertEqual("one", self.secret())
        self.assertEqual(0, reads % READS_IN_PASSING)
        self.assertGreater(reads, 0)

    def test_dotenv_is_judged_at_rest_only(self) -> None:
        """Half of it cannot be told from the whole."""
        self.write({"token": "${TOKEN}"})
        dotenv = self.path.parent / ".env"
        self.write_to(dotenv, "TOKEN=one")
        self.start()
        self.keep_writing(lambda number: f"TOKEN=t{number}", 2 * MAX_WAIT_S, dotenv)
        self.assertEqual("one", self.secret())
        self.settle()
        self.assertNotEqual("one", self.secret())
        before, real = self.secret(), reload_module.load_config

        def slow(*arguments: Any) -> LoadedConfig:
            self.write_to(dotenv, "TOKEN=two")
            return real(*arguments)

        self.patch(reload_module, "load_config", slow)
        self.keep_writing(lambda _: '{"gateway": {"auth": {"token": "${TOKEN}"}}}', MAX_WAIT_S + 2 * POLL_INTERVAL_S)
        self.assertEqual(before, self.secret())

    def test_many_keys_are_counted(self) -> None:
        """A line of the log names some of them, and says how many there are beside."""
        self.write({"token": "one"})
        self.start()
        for prefix, count in (("a", MAX_KEYS_TOLD), ("b", 5)):
            # Those that were there go with the second edit.
            names = [f"{prefix}{number:02}" for number in range(count)]
            (line,) = self.edit_document({"agents": {"entries": {name: {"name": "n"} for name in names}}})
            applied = line.partition("; needs a restart: nothing")[0]
            told = ", ".join(f"agents.entries.a{number:02}" for number in range(MAX_KEYS_TOLD))
            self.assertEqual(f"config change: applied: {told}" + (" and 5 more" if prefix == "b" else ""), applied)
        assert self.live.last_reload is not None
        self.assertEqual(MAX_KEYS_TOLD + 5, len(self.live.last_reload.applied))
        self.patch(reload_module, "MAX_KEYS_TOLD", 1)
        (line,) = self.edit({"token": "one"}, port=1, bind="lan")
        self.assertIn("; needs a restart: gateway.port and 1 more", line)

    def test_invalid_is_told_once_for_each_content(self) -> None:
        """A file that is only touched is not told again; another one is, and so is the same one after a sound one."""
        self.write({"token": "one"})
        self.start()
        self.assertEqual(1, len(self.edit("{ half")))
        assert self.live.last_reload is not None
        self.assertEqual("invalid", self.live.last_reload.status)
        self.assertIn("line 1", self.live.last_reload.error or "")
        self.assertEqual([], self.edit("{ half"))
        self.assertEqual(1, len(self.edit("{ other")))
        self.assertEqual([], self.edit({"token": "one"}))
        self.assertEqual(("applied", None), (self.live.last_reload.status, self.live.last_reload.error))
        self.assertEqual(1, len(self.edit("{ other")))
        self.path.unlink()
        self.path.symlink_to("elsewhere")
        self.log.clear()
        self.settle()
        self.assertEqual(1, len(self.log))

    def test_link(self) -> None:
        """An edit of the file that a link leads to is one, and so is a link that leads elsewhere."""
        real = self.path.parent / "real.json"
        self.write({"token": "one"})
        self.path.rename(real)
        self.path.symlink_to("real.json")
        self.start()
        real.write_text(real.read_text().replace("one", "two"))
        self.settle()
        assert self.live.current.gateway.auth.token is not None
        self.assertEqual("two", self.live.current.gateway.auth.token.reveal())
        other = self.path.parent / "other.json"
        other.write_text(real.read_text().replace("two", "three"))
        (self.path.parent / "new").symlink_to("other.json")
        (self.path.parent / "new").replace(self.path)
        self.settle()
        assert self.live.current.gateway.auth.token is not None
        self.assertEqual("three", self.live.current.gateway.auth.token.reveal())

    def test_hot_sections(self) -> None:
        """What is read when it is needed applies at once, together with what is pending in the same edit."""
        self.write({"token": "one"})
        self.start()
        providers = {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}
        log = self.edit_document({"agents": {"defaults": {"model": "p/m"}}, "models": {"providers": providers}})
        self.assertEqual(
            ["config change: applied: models.providers.p, agents.defaults.model; needs a restart: nothing"], log
        )
        self.assertEqual(["p"], list(self.live.current.models.providers))
        log = self.edit(
            {"token": "one", "rateLimit": {"maxAttempts": 3}},
            port=5,
            trustedProxies=["10.0.0.1"],
            http={"endpoints": {"chatCompletions": {"enabled": True}}},
            reload={"mode": "hybrid"},
        )
        assert self.live.last_reload is not None
        self.assertEqual(
            (
                "gateway.auth.rateLimit",
                "gateway.trustedProxies",
                "gateway.http.endpoints.chatCompletions.enabled",
                "models.providers.p",
                "agents.defaults.model",
            ),
            self.live.last_reload.applied,
        )
        self.assertEqual(self.clock.seconds(), self.live.last_reload.at_s)
        self.assertEqual(("gateway.port",), self.live.pending)
        gateway = self.live.current.gateway
        self.assertEqual((18789, ("10.0.0.1",)), (gateway.port, gateway.trusted_proxies))
        self.assertTrue(gateway.http.endpoints.chat_completions.enabled)
        self.assertEqual("one", self.secret())

    def test_what_has_no_effect_is_silent(self) -> None:
        """Keys that mean nothing to a running gateway are taken over without a word."""
        self.write({"token": "one"})
        self.start()
        self.assertEqual([], self.edit_document({"$schema": "https://example.com"}))
        self.assertEqual("https://example.com", self.live.current.schema)
        self.assertIsNone(self.live.last_reload)

    def test_new_warnings(self) -> None:
        """What is doubtful in an edit is told once."""
        self.write({"token": "one"})
        self.start()
        provider = {"baseUrl": "http://127.0.0.1:1/v1", "apiKey": "${NOT_SET}"}
        document: dict[str, Any] = {"models": {"providers": {"p": provider}}}
        self.assertIn("NOT_SET", self.edit_document(document)[1])
        provider["timeoutSeconds"] = 5
        self.assertEqual(1, len(self.edit_document(document)))

    def test_dotenv(self) -> None:
        """An edit of .env applies, to what the file takes from it and to what is left to the environment."""
        document = {"models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1", "apiKey": "${P_KEY}"}}}}
        text = json.dumps({"gateway": {"auth": {"token": "one"}}, **document})
        self.write(text)
        dotenv = self.path.parent / ".env"
        self.write_to(dotenv, "P_KEY=first")
        self.start()
        self.write_to(dotenv, "P_KEY=second")
        self.settle()
        key = self.live.current.models.providers["p"].api_key
        assert key is not None
        self.assertEqual(("second", "second"), (key.reveal(), self.live.environ["P_KEY"]))
        line = "config change: applied: {}; needs a restart: nothing"
        self.assertEqual([line.format("models.providers.p.apiKey, .env")], self.log)
        self.log.clear()
        self.write_to(dotenv, "P_KEY=second\nP_API_KEYS=a,b")
        self.settle()
        self.assertEqual([line.format(".env")], self.log)
        self.assertEqual("a,b", self.live.environ["P_API_KEYS"])
        log = self.edit_document({**document, "env": {"vars": {"P_API_KEYS": "c", "NEW": "d"}}})
        self.assertEqual([line.format("env.vars.P_API_KEYS, env.vars.NEW")], log)

    def test_token_of_dotenv(self) -> None:
        """So does a new token in it, where the file leaves the token to the environment."""
        dotenv = self.path.parent / ".env"
        self.write_to(dotenv, "OPENCLAW_GATEWAY_TOKEN=one")
        self.write({})
        self.start()
        self.write_to(dotenv, "OPENCLAW_GATEWAY_TOKEN=two")
        self.settle()
        self.assertEqual("two", self.secret())
        self.assertEqual("two", self.live.current.gateway.auth.token and self.live.current.gateway.auth.token.reveal())
        self.assertEqual((), self.live.pending)

    def test_embedded_model_that_does_not_run(self) -> None:
        """Agents that would need it keep their models until the restart, with the providers that these need."""
        document: dict[str, Any] = {
            "models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}},
            "agents": {"defaults": {"model": "p/m"}},
        }
        self.write(json.dumps({"gateway": {"auth": {"token": "one"}}, **document}))
        self.start()
        log = self.edit_document({"gateway": {"auth": {"token": "two"}}})
        self.assertEqual(
            ["config change: applied: gateway.auth.token; needs a restart: models.providers.p, agents.defaults.model"],
            log,
        )
        self.assertEqual(["p"], list(self.live.current.models.providers))
        document["agents"]["defaults"]["model"] = {"primary": "p/n", "fallbacks": ["local/smollm2-135m"]}
        self.edit_document(document)
        self.assertEqual(("agents.defaults.model.primary", "agents.defaults.model.fallbacks"), self.live.pending)
        document["agents"]["defaults"]["model"] = "p/n"
        self.edit_document(document)
        self.assertEqual((), self.live.pending)
        choice = self.live.current.agents.defaults.model
        self.assertEqual("p/n", choice and choice.primary)

    def test_other_embedded_model(self) -> None:
        """The running model stays, and so do the agents that would ask for the other one."""
        self.write({"token": "one"})
        self.start()
        self.edit_document({"models": {"local": {"model": "other"}}, "agents": {"defaults": {"timeoutSeconds": 5}}})
        self.assertEqual(("models.local.model",), self.live.pending)
        self.assertEqual(5.0, self.live.current.agents.defaults.timeout_seconds)
        self.edit_document(
            {"models": {"local": {"model": "other"}}, "agents": {"defaults": {"model": "local/other"}}},
        )
        self.assertEqual(
            ("models.local.model", "agents.defaults.model", "agents.defaults.timeoutSeconds"), self.live.pending
        )
        self.assertEqual("local/smollm2-135m", self.live.current.models.local_ref)
        self.assertIsNone(self.live.current.agents.defaults.model)

    def test_switched_off(self) -> None:
        """An edit that switches the watching off is the last one that applies."""
        self.write({"token": "one"})
        self.start()
        log = self.edit({"token": "two"}, reload={"mode": "off"})
        self.assertIn("gateway.reload.mode is off: further edits take a restart", log)
        self.assertEqual("two", self.secret())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_command_line_that_refuses(self) -> None:
        """A configuration that the command line cannot be applied to is one that cannot be used."""
        refusing = False

        def as_run(config: Config) -> Config:
            if refusing:
                raise StartError("--endpoint: no")
            return config

        self.write({"token": "one"})
        live = LiveConfig(load_config(self.path, {}).config)
        watcher = ConfigWatcher(live, self.path, {}, self.clock, execute, as_run=as_run)
        watcher.startService()
        self.addCleanup(watcher.stopService)
        self.settle()
        refusing = True
        self.assertIn("--endpoint: no", self.edit({"token": "two"})[0])
        assert live.last_reload is not None
        self.assertEqual("--endpoint: no", live.last_reload.error)

    def test_removed_before_the_first_look(self) -> None:
        """A file that is removed between load and start leaves the configuration as it was."""
        self.write({"token": "one"})
        live = LiveConfig(load_config(self.path, {}).config)
        self.path.unlink()
        watcher = ConfigWatcher(live, self.path, {}, self.clock, execute)
        watcher.startService()
        self.addCleanup(watcher.stopService)
        self.settle()
        self.assertEqual(["the configuration file is gone; the running configuration stays"], self.log)
        self.assertIsNotNone(live.current.gateway.auth.token)

    def test_without_a_file(self) -> None:
        """A gateway that never had a file follows .env."""
        dotenv = self.path.parent / ".env"
        self.write_to(dotenv, "OPENCLAW_GATEWAY_TOKEN=one")
        self.start()
        for token in ("two", "three"):
            self.write_to(dotenv, f"OPENCLAW_GATEWAY_TOKEN={token}")
            self.settle()
            self.assertEqual(token, self.secret())
        self.assertNotIn("the configuration file is gone; the running configuration stays", self.log)

    def test_replaced_by_hand(self) -> None:
        """Another configuration of the same environment."""
        live = LiveConfig(Config(), {"A": "1"})
        other = Config(schema="s")
        live.replace(other)
        self.assertEqual((other, {"A": "1"}), (live.current, live.environ))

    def test_all_who_follow_are_told(self) -> None:
        live = LiveConfig(Config(), {})
        told: list[str] = []

        def leave_at_once() -> None:
            told.append("first")
            leave()

        def fail() -> None:
            raise RuntimeError("a bug")

        leave = live.subscribe(leave_at_once)
        live.subscribe(fail)
        live.subscribe(lambda: told.append(live.current.schema or ""))
        for schema in ("one", "two"):
            live.replace(Config(schema=schema))
        self.assertEqual(["first", "one", "two"], told)
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
        leave()

    def test_unreadable_content(self) -> None:
        """What cannot be told apart is told each time."""
        # No other way: who runs the tests as root can read every file.
        self.assertIsNone(reload_module._digest(self.path))
        self.write("x")
        self.assertEqual(32, len(reload_module._digest(self.path) or b""))
        self.patch(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError()))
        self.assertIsNone(reload_module._digest(self.path))
