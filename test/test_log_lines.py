"""Tests of L{openclaw.log_lines}."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from openclaw.log_lines import Line, LogContext, add_log_context, line_of
from openclaw.redact import Redactor

AT_S = 1_700_000_000.25


def line(message: str = "it is", **context: str) -> Line:
    return Line(AT_S, "info", "http.chat", message, LogContext(**context))


class PrettyTests(SynchronousTestCase):
    def test_plain(self) -> None:
        self.assertRegex(line().pretty(), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[http\.chat\] it is\n$")

    def test_short(self) -> None:
        self.assertRegex(line().pretty(short=True), r"^\d\d:\d\d:\d\d \[http\.chat\] it is\n$")

    def test_ids(self) -> None:
        told = line(run_id="r1", request_id="q1", session_key="s", trace_id="t").pretty()
        self.assertTrue(told.endswith("] it is (run r1, request q1)\n"))

    def test_ids_that_are_told_already(self) -> None:
        self.assertTrue(line("run r1 is", run_id="r1").pretty().endswith("] run r1 is\n"))

    def test_ids_stand_on_the_first_line(self) -> None:
        self.assertTrue(line("broke\nTraceback", run_id="r1").pretty().endswith("] broke (run r1)\n  Traceback\n"))

    def test_nothing_looks_like_a_line_of_ours(self) -> None:
        told = line("a\n2026 [x] forged\x1b[31m\r\x85\u2028\u202eb\ttab").pretty()
        self.assertTrue(told.endswith("] a\n  2026 [x] forged\\x1b[31m\\r\\x85\\u2028\\u202eb\ttab\n"), ascii(told))

    def test_ids_command_no_terminal(self) -> None:
        self.assertIn("(run r\\x1b)", line(run_id="r\x1b").pretty())

    def test_colour(self) -> None:
        for level, colour in (("error", "\x1b[31m"), ("warn", "\x1b[33m"), ("critical", "\x1b[1;31m")):
            told = Line(AT_S, level, "x", "it is").pretty(colour=True)
            self.assertTrue(told.startswith(colour) and told.endswith("it is\x1b[0m\n"), told)
        self.assertNotIn("\x1b", line().pretty(colour=True))


class JsonTests(SynchronousTestCase):
    def decoded(self, told: Line) -> dict[str, Any]:
        text = told.as_json()
        self.assertEqual(text.count("\n"), 1)
        value: dict[str, Any] = json.loads(text)
        return value

    def test_our_fields(self) -> None:
        value = self.decoded(line(run_id="r1", request_id="q1", session_key="s1", trace_id="t1"))
        self.assertEqual((value["level"], value["subsystem"], value["message"]), ("info", "http.chat", "it is"))
        self.assertEqual(
            (value["requestId"], value["runId"], value["sessionKey"], value["traceId"]), ("q1", "r1", "s1", "t1")
        )
        self.assertRegex(value["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.250[+-]\d\d:\d\d$")

    def test_what_is_not_known_is_not_there(self) -> None:
        self.assertEqual({"requestId", "runId", "sessionKey", "traceId"} & self.decoded(line()).keys(), set())

    def test_the_original_s_fields(self) -> None:
        value = self.decoded(line())
        self.assertEqual(json.loads(value["0"]), {"subsystem": "http.chat"})
        self.assertEqual(value["1"], "it is")
        meta = value["_meta"]
        self.assertEqual((meta["logLevelId"], meta["logLevelName"]), (3, "INFO"))
        self.assertEqual(meta["date"], "2023-11-14T22:13:20.250Z")
        self.assertEqual(meta["name"], value["0"])
        self.assertIn("hostname", value)
        self.assertEqual(self.decoded(Line(AT_S, "critical", "x", "y"))["_meta"]["logLevelName"], "FATAL")

    def test_texts(self) -> None:
        self.assertEqual(self.decoded(line('a\n"b" ü\x1b'))["message"], 'a\n"b" ü\x1b')


class EventTests(SynchronousTestCase):
    def line_of(self, **event: Any) -> Line:
        told = line_of({"log_format": "it is", "log_time": AT_S, **event}, Redactor())
        assert told is not None
        return told

    def test_plain(self) -> None:
        told = self.line_of(log_namespace="openclaw.http.chat", log_level=LogLevel.warn)
        self.assertEqual(told, Line(AT_S, "warn", "http.chat", "it is"))

    def test_missing_parts(self) -> None:
        told = line_of({"log_format": "x"}, Redactor())
        assert told is not None
        self.assertEqual((told.level, told.subsystem), ("info", "-"))
        self.assertGreater(told.time_s, AT_S)
        self.assertIsNone(line_of({"log_format": ""}, Redactor()))

    def test_keys(self) -> None:
        told = self.line_of(run_id="r", request_id="q", session="s", trace_id="t")
        self.assertEqual(told.context, LogContext("q", "r", "s", "t"))
        self.assertEqual(self.line_of(session_key="s").context.session_key, "s")

    def test_secrets(self) -> None:
        told = self.line_of(log_format="password=abc", request_id="sk-0123456789abcdefgh", run_id="token=x")
        self.assertEqual(told.message, "password=***")
        self.assertEqual(told.context, LogContext("sk-012…efgh", "token=***"))

    def test_context_of_a_coroutine(self) -> None:
        """It goes where the work goes, across waits and into what it starts, and no further."""
        told: list[LogContext] = []
        gate: Deferred[None] = Deferred()

        async def inner() -> None:
            add_log_context(run_id="r1", session_key="s1")
            await gate
            told.append(self.line_of().context)

        async def outer() -> None:
            add_log_context(request_id="q1", trace_id="t1")
            started = Deferred.fromCoroutine(inner())
            told.append(self.line_of().context)
            await started

        done = Deferred.fromCoroutine(outer())
        self.assertEqual(self.line_of().context, LogContext())
        gate.callback(None)
        self.successResultOf(done)
        self.assertEqual(told, [LogContext("q1", trace_id="t1"), LogContext("q1", "r1", "s1", "t1")])
        self.assertEqual(self.line_of().context, LogContext())

    def test_keys_come_before_the_context(self) -> None:
        async def work() -> LogContext:
            add_log_context(run_id="r1")
            return self.line_of(run_id="r2").context

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(work())).run_id, "r2")
