"""C{openclaw agent}, and a turn through a connection."""

import io
import os
import signal
import sys
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.talk import agent as agent_module
from openclaw.cli.talk.turn import Shown, text_of, why_not
from openclaw.cli.talk.turn_request import TurnRequest
from test.cli.gateway_fake import GatewayError, RemoteTestCase


def final(run_id: str, text: str, **fields: Any) -> dict[str, Any]:
    """The last answer of the method."""
    return {
        "runId": run_id,
        "status": "ok",
        "summary": "completed",
        "result": {"payloads": [{"text": text, "mediaUrl": None}], "meta": {"durationMs": 5}},
        **fields,
    }


class AgentTestCase(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = "Hello there."
        self.told: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}
        self.gateway.methods["agent"] = self.run_agent

    def run_agent(self, socket: Any, frame: Any) -> Any:
        """Accept, tell what the test says, answer."""
        run_id = frame["params"]["idempotencyKey"]
        socket.respond(frame["id"], {"runId": run_id, "sessionKey": "agent:main:main", "status": "accepted"})
        for data in self.told:
            socket.event("agent", {"runId": run_id, "stream": "assistant", "data": data})
        return final(run_id, self.text, **self.last)


class AgentTests(AgentTestCase):
    def test_prints_the_answer(self) -> None:
        self.told = [{"text": "Hel", "delta": "Hel"}]
        self.assertEqual(self.run_command("agent", "-m", "hi"), 0)
        self.assertEqual((self.out, self.err), ("Hello there.\n", ""))
        [params] = self.gateway.params_of("agent")
        self.assertEqual(
            {**params, "idempotencyKey": ""}, {"message": "hi", "deliver": False, "timeout": 600, "idempotencyKey": ""}
        )
        self.assertEqual(self.gateway.params_of("connect")[0]["scopes"], ["operator.read", "operator.write"])

    def test_options(self) -> None:
        options = ("--agent", "a", "--session-key", "k", "--session-id", "s", "--model", "p/m", "--thinking", "low")
        self.assertEqual(self.run_command("agent", "--message", "hi", *options, "--timeout", "1.5"), 0)
        [params] = self.gateway.params_of("agent")
        asked = {name: params[name] for name in ("agentId", "sessionKey", "sessionId", "model", "thinking", "timeout")}
        self.assertEqual(
            asked,
            {"agentId": "a", "sessionKey": "k", "sessionId": "s", "model": "p/m", "thinking": "low", "timeout": 1.5},
        )
        self.assertIn("operator.admin", self.gateway.params_of("connect")[0]["scopes"])

    def test_streams(self) -> None:
        self.told = [{"text": "Hel", "delta": "Hel"}, {"delta": "lo"}, {"text": "Hello th", "delta": " th"}, {"x": 1}]
        for arguments, terminal in (((), True), (("--stream",), False)):
            self.assertEqual(self.run_command("agent", "-m", "hi", *arguments, terminal=terminal), 0)
            self.assertEqual(self.out, "Hello there.\n")

    def test_streams_as_it_comes(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            self.told = [{"text": "first"}]
            self.run_agent(socket, frame)
            return GatewayError("UNAVAILABLE", "the provider failed", {"code": "provider_error"})

        self.gateway.methods["agent"] = run
        self.assertEqual(self.run_command("agent", "-m", "hi", "--stream"), 1)
        self.assertEqual(self.out, "first")
        self.assertEqual(self.err, "openclaw: the provider failed\n")

    def test_stops_the_run_that_nobody_reads(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            self.told = [{"text": "first"}, {"text": "first second"}]
            self.run_agent(socket, frame)
            return ...

        def broken(*arguments: Any, **options: Any) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        self.gateway.methods["agent"] = run
        self.gateway.methods["chat.abort"] = {"ok": True, "aborted": True}
        self.patch(agent_module, "say", broken)
        self.assertEqual(self.run_command("agent", "-m", "hi", "--stream"), 1)
        self.assertEqual((self.out, self.err), ("", ""))
        [asked] = self.gateway.params_of("agent")
        aborted = {"runId": asked["idempotencyKey"], "sessionKey": "agent:main:main"}
        self.assertEqual(self.gateway.params_of("chat.abort"), [aborted])

    def test_others_runs_are_not_shown(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            for payload in (
                {"runId": "other", "stream": "assistant", "data": {"text": "no"}},
                {"runId": frame["params"]["idempotencyKey"], "stream": "lifecycle", "data": {"text": "no"}},
                {"runId": frame["params"]["idempotencyKey"], "stream": "assistant", "data": 5},
            ):
                socket.event("agent", payload)
            return self.run_agent(socket, frame)

        self.gateway.methods["agent"] = run
        self.run_command("agent", "-m", "hi", "--stream")
        self.assertEqual(self.out, "Hello there.\n")

    def test_terminals_obey_nothing(self) -> None:
        self.text = "a\x1b]0;owned\x07b\x9bc\u202e\td\n"
        self.run_command("agent", "-m", "hi", terminal=True)
        self.assertEqual(self.out, "a]0;ownedbc\td\n")
        self.run_command("agent", "-m", "hi")
        self.assertEqual(self.out, self.text)

    def test_json(self) -> None:
        self.told = [{"text": "Hel"}]
        self.assertEqual(self.run_command("agent", "-m", "hi", "--json", "--stream"), 0)
        self.assertEqual(self.json_out()["result"]["payloads"], [{"text": "Hello there.", "mediaUrl": None}])
        self.assertEqual((self.json_out()["status"], self.json_out()["summary"]), ("ok", "completed"))

    def test_aborted_elsewhere(self) -> None:
        self.last = {"status": "timeout", "summary": "aborted", "stopReason": "rpc", "result": None}
        self.assertEqual(self.run_command("agent", "-m", "hi"), 1)
        self.assertEqual((self.out, self.err), ("", "openclaw: the run was aborted\n"))
        self.assertEqual(self.run_command("agent", "-m", "hi", "--json"), 1)
        self.assertEqual(self.json_out()["status"], "timeout")

    def test_failed(self) -> None:
        details = {"code": "model_not_found"}
        self.gateway.methods["agent"] = GatewayError("INVALID_REQUEST", 'Unknown agent id "nope"', details)
        self.assertEqual(self.run_command("agent", "-m", "hi", "--json"), 1)
        self.assertEqual(
            self.json_out()["error"],
            {
                "type": "gateway_request_error",
                "message": 'Unknown agent id "nope"',
                "code": "INVALID_REQUEST",
                "details": details,
            },
        )
        self.assertEqual(self.err, 'openclaw: Unknown agent id "nope"\n')

    def test_answer_that_means_nothing(self) -> None:
        self.gateway.methods["agent"] = 5
        self.assertEqual(self.run_command("agent", "-m", "hi"), 1)
        self.assertIn("means nothing", self.err)

    def test_lost_on_the_way(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            self.run_id = frame["params"]["idempotencyKey"]
            socket.respond(frame["id"], {"status": "accepted"})
            socket.close_with(1012, "service restart")
            return ...

        self.gateway.methods["agent"] = run
        self.assertEqual(self.run_command("agent", "-m", "hi", "--json"), 1)
        self.assertEqual(len(self.err.splitlines()), 1)
        self.assertIn("the run goes on in the gateway: see it with: openclaw sessions", self.err)
        self.assertIn(f'agent.wait --params \'{{"runId":"{self.run_id}"}}\'', self.err)
        self.assertEqual(self.json_out()["error"]["type"], "gateway_transport_error")
        self.assertEqual(self.json_out()["error"]["details"], {"runId": self.run_id})

    def test_no_answer(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            for after_s in range(0, 100, 10):
                self.reactor.callLater(after_s, socket.event, "tick", {})
            return ...

        self.gateway.methods["agent"] = run
        self.assertEqual(self.run_command("agent", "-m", "hi", "--timeout", "5"), 1)
        self.assertIn("does not answer agent within 35 s", self.err)
        self.assertIn("the run goes on", self.err)

    def interrupted(self, number: int, abort: Any) -> tuple[int, float]:
        def run(socket: Any, frame: Any) -> Any:
            socket.respond(frame["id"], {"status": "accepted", "sessionKey": "agent:main:main"})
            self.run_id = frame["params"]["idempotencyKey"]
            self.reactor.callLater(1, os.kill, os.getpid(), number)
            self.signalled_s = self.reactor.seconds() + 1
            return ...

        self.gateway.methods.update({"agent": run, "chat.abort": abort})
        status = self.run_command("agent", "-m", "hi")
        return status, self.reactor.seconds() - self.signalled_s

    def test_signals_abort_the_run(self) -> None:
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            ended, took_s = self.interrupted(number, {"ok": True, "aborted": True})
            self.assertEqual(ended, status)
            self.assertLess(took_s, 0.1)
            self.assertEqual(
                self.gateway.params_of("chat.abort")[-1], {"runId": self.run_id, "sessionKey": "agent:main:main"}
            )

    def test_a_gateway_that_does_not_abort(self) -> None:
        ended, took_s = self.interrupted(signal.SIGINT, lambda socket, frame: ...)
        self.assertEqual(ended, 130)
        self.assertLess(took_s, 2.6)


class MessageTests(AgentTestCase):
    def sent(self, *arguments: str, stdin: bytes = b"") -> Any:
        with mock.patch.object(sys, "stdin", mock.Mock(buffer=io.BytesIO(stdin))):
            self.assertEqual(self.run_command("agent", *arguments), 0)
        return self.gateway.params_of("agent")[-1]["message"]

    def refused(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        with mock.patch.object(sys, "stdin", mock.Mock(buffer=io.BytesIO(stdin))):
            status = self.run_command("agent", *arguments)
        self.assertEqual(self.gateway.requests, [])
        return status, self.err.splitlines()[-1]

    def test_sources(self) -> None:
        path = self.home / "message"
        path.write_bytes(b"\xef\xbb\xbffrom a file\n")
        self.assertEqual(self.sent("--message-file", str(path)), "from a file\n")
        self.assertEqual(self.sent("-m", "-", stdin=b"piped"), "piped")
        self.assertEqual(self.sent("--message-file", "-", stdin="ü".encode()), "ü")

    def test_refused(self) -> None:
        missing = str(self.home / "missing")
        for arguments, stdin, status, text in (
            ((), b"", 2, "Error: give the message: --message TEXT, or --message-file FILE"),
            (("-m", "a", "--message-file", "b"), b"", 2, "Error: give the message"),
            (("-m", " "), b"", 2, "Error: the message is empty"),
            (("-m", "-"), b"\n", 2, "Error: the message is empty"),
            (("-m", "-"), b"\xff", 1, "openclaw: the message in standard input is not UTF-8"),
            (("--message-file", missing), b"", 1, f"openclaw: --message-file: {missing} cannot be read: No such file"),
            (("-m", "a", "--timeout", "0"), b"", 2, "Error: Invalid value for '--timeout'"),
        ):
            ended, line = self.refused(*arguments, stdin=stdin)
            self.assertEqual(ended, status)
            self.assertTrue(line.startswith(text), line)

    def test_too_large(self) -> None:
        self.patch(agent_module, "MAX_MESSAGE_BYTES", 4)
        self.assertEqual(
            self.refused("-m", "-", stdin=b"12345"),
            (1, "openclaw: the message in standard input is larger than 4 bytes"),
        )
        path = self.home / "message"
        path.write_bytes(b"12345")
        self.assertEqual(self.refused("--message-file", str(path))[0], 1)


class ShownTests(SynchronousTestCase):
    def shown(self, *steps: Any, last: str) -> str:
        parts: list[str] = []
        shown = Shown(parts.append)
        for step in steps:
            shown.delta({"text": step} if isinstance(step, str) else step)
        shown.final(last)
        return "".join(parts)

    def test_complete_whatever_was_missed(self) -> None:
        for steps, last, text in (
            ((), "abc", "abc\n"),
            (("a", "ab", "abc"), "abc", "abc\n"),
            (("a",), "abc", "abc\n"),
            (({"delta": "a"}, {"delta": "b"}), "abc", "abc\n"),
            (("abc", "ab"), "abc", "abc\n"),
            (("abc \n",), "abc", "abc \n"),
            ((" abc",), "abc", " abc\n"),
            (("abc",), "", "abc\n"),
            ((), "", ""),
            (("draft",), "other", "draft\nother\n"),
            (("draft", "other"), "other!", "draft\nother!\n"),
        ):
            self.assertEqual(self.shown(*steps, last=last), text)


class AnswerTests(SynchronousTestCase):
    def test_text(self) -> None:
        payloads = [{"text": "a"}, {"text": None}, {"mediaUrl": "x"}, 5, {"text": "b"}]
        self.assertEqual(text_of({"result": {"payloads": payloads}}), "a\n\nb")
        for answer in ({}, {"result": None}, {"result": {}}, {"result": {"payloads": None}}):
            self.assertEqual(text_of(answer), "")

    def test_why_not(self) -> None:
        for answer, text in (
            ({"status": "ok"}, None),
            ({"status": "timeout"}, "the run took too long and was ended"),
            ({"status": "timeout", "stopReason": "rpc"}, "the run was aborted"),
            ({"status": "in_flight"}, "the same run is under way already"),
            ({"status": "error", "summary": "failed"}, "the run ended as error: failed"),
            ({}, "the run ended as None"),
        ):
            self.assertEqual(why_not(answer), text)

    def test_each_turn_has_its_own_run(self) -> None:
        self.assertNotEqual(TurnRequest("a", 1).run_id, TurnRequest("a", 1).run_id)
