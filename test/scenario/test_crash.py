"""C{kill -9} amid a turn: what the next gateway finds, how soon it serves, and how the conversation goes on."""

import contextlib
import signal
import sqlite3
from typing import Any

from openclaw.agents.context import NO_ANSWER
from test.scenario.drain_support import AmidWorkTestCase, ask
from test.scenario.support import DEADLINE_S, Program
from test.scenario.test_process import READY_WITHIN_S, until


class CrashTests(AmidWorkTestCase):
    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Look into the store."""
        with contextlib.closing(sqlite3.connect(self.state_dir / "gateway.sqlite")) as store:
            return store.execute(sql).fetchall()

    def kill(self, gateway: Program) -> None:
        gateway.end(signal.SIGKILL)

    def restarted(self) -> Program:
        gateway = self.gateway()
        print(f" ready {gateway.age_s:.2f} s ", end="")
        self.assertLess(gateway.age_s, READY_WITHIN_S)
        return gateway

    def said_to_the_model(self) -> list[tuple[str, str]]:
        """What the model read last, without its instructions."""
        return [(message["role"], message["content"]) for message in self.moody.prompts[-1][1:]]

    def test_amid_a_stream(self) -> None:
        self.write_config()
        gateway = self.gateway()
        model = {"model": "openclaw/moody", "user": "a"}
        self.assertEqual(ask(self.port, "one", **model).status, 200)
        cut = self.streaming("half two", **model)
        queued = self.asking("three", **model)
        until(lambda: len(self.moody.prompts) == 2)
        self.kill(gateway)
        self.assertIsNotNone(cut.exception(DEADLINE_S))
        self.assertIsNotNone(queued.exception(DEADLINE_S))
        self.assertEqual(self.query("SELECT status FROM runs ORDER BY seq"), [("done",), ("running",)])
        gateway = self.restarted()
        self.assertEqual(self.query("SELECT status FROM runs ORDER BY seq"), [("done",), ("interrupted",)])
        answer = ask(self.port, "four", **model)
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            self.said_to_the_model(),
            [
                ("user", "one"),
                ("assistant", "echo one"),
                ("user", "half two"),
                ("assistant", NO_ANSWER),
                ("user", "four"),
            ],
        )
        self.assertEqual(gateway.end(), 0)
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])
        (line,) = gateway.told
        self.assertIn("interrupted: 1", line)

    def test_before_the_first_byte(self) -> None:
        """The first turn of a session, in an answer that is not streamed, is kept, too."""
        self.write_config()
        gateway = self.gateway()
        model = {"model": "openclaw/moody", "user": "b"}
        cut = self.asking("mute", **model)
        until(lambda: len(self.moody.prompts) == 1)
        self.kill(gateway)
        self.assertIsNotNone(cut.exception(DEADLINE_S))
        gateway = self.restarted()
        self.assertEqual(ask(self.port, "again", stream=True, **model).events[-1], "[DONE]")
        self.assertEqual(self.said_to_the_model(), [("user", "mute"), ("assistant", NO_ANSWER), ("user", "again")])
        self.assertEqual(gateway.end(), 0)

    def test_its_key_is_not_stuck(self) -> None:
        """The client tries again with its key: the turn that was interrupted is answered, and stands there once."""
        self.write_config()
        gateway = self.gateway()
        model = {"model": "openclaw/moody", "user": "c"}
        headers = {"Idempotency-Key": "k"}
        cut = self.asking("half five", headers=headers, **model)
        until(lambda: len(self.moody.prompts) == 1)
        self.kill(gateway)
        self.assertIsNotNone(cut.exception(DEADLINE_S))
        gateway = self.restarted()
        retry = self.asking("half five", headers=headers, **model)
        until(lambda: len(self.moody.prompts) == 2)
        self.assertEqual(self.said_to_the_model(), [("user", "half five")])
        self.assertEqual(gateway.end(signal.SIGKILL), -signal.SIGKILL)
        self.assertIsNotNone(retry.exception(DEADLINE_S))
        self.assertEqual(self.query("SELECT count(*) FROM entries"), [(1,)])
