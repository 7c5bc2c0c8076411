"""C{openclaw chat}: the loop at the terminal."""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw.cli.talk import background as background_module
from openclaw.cli.talk.background import Background
from openclaw.cli.talk.chat import MAX_LINE_CHARS, stdin_lines, terminal_lines
from openclaw.errors import OpenClawError
from test.cli.gateway_fake import FakeReactor, GatewayError, RemoteTestCase
from test.cli.talk.test_agent import final


class _Outcome(Future[Any]):
    """A future whose waiting moves the reactor of the test."""

    def __init__(self, reactor: FakeReactor) -> None:
        super().__init__()
        self.reactor = reactor

    def result(self, timeout: float | None = None) -> Any:
        """Go on until it is there, or so many seconds have passed."""
        late: list[bool] = []
        deadline = self.reactor.callLater(timeout, late.append, True) if timeout is not None else None
        while not self.done():
            if late:
                raise TimeoutError
            self.reactor.step()
        if deadline is not None and deadline.active():
            deadline.cancel()
        return super().result(0)


class FakeBackground(Background):
    """Does without a thread: the reactor goes on while somebody waits."""

    def __enter__(self) -> FakeBackground:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, work: Callable[[], Awaitable[Any]]) -> Future[Any]:
        """Start at once."""
        outcome = _Outcome(self.reactor)

        async def guarded() -> Any:
            return await work()

        task = Deferred.fromCoroutine(guarded())
        task.addCallbacks(outcome.set_result, lambda failure: outcome.set_exception(failure.value))
        return outcome

    def outcome(self, future: Future[Any], timeout_s: float | None = None) -> Any:
        """The reactor goes on in here."""
        return future.result(timeout_s)


class ChatTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(background_module, "Background", FakeBackground)
        self.gateway.methods["agent"] = self.run_agent
        self.gateway.methods["chat.history"] = {
            "messages": [
                {"role": "user", "content": "earlier"},
                {"role": "assistant", "content": [{"type": "text", "text": "yes\x1b[2J"}, {"type": "toolCall"}]},
                {"role": "toolResult", "content": [{"type": "text", "text": "42"}]},
                {"role": "system", "content": 5},
                "odd",
            ]
        }
        self.answer: Any = "Hello."

    def run_agent(self, socket: Any, frame: Any) -> Any:
        run_id = frame["params"]["idempotencyKey"]
        key = frame["params"]["sessionKey"]
        key = key if key.startswith("agent:") else f"agent:main:{key}"
        socket.respond(frame["id"], {"runId": run_id, "sessionKey": key, "status": "accepted"})
        if callable(self.answer):
            return self.answer(socket, frame)
        socket.event("agent", {"runId": run_id, "stream": "assistant", "data": {"text": self.answer[:3]}})
        return final(run_id, self.answer)

    def chat(self, *lines: Any, options: tuple[str, ...] = (), terminal: bool = True) -> int:
        """Type lines; an exception is raised in place of one."""
        left = list(lines)

        def typed(prompt: str = "") -> str:
            if not left:
                raise EOFError
            line = left.pop(0)
            if isinstance(line, BaseException):
                raise line
            return str(line)

        stdin = mock.Mock()
        stdin.isatty.return_value = terminal
        stdin.readline.side_effect = lambda size: (typed() + "\n") if left else ""
        with mock.patch.object(builtins, "input", typed), mock.patch.object(sys, "stdin", stdin):
            return self.run_command("chat", *options, terminal=terminal)

    def test_turns(self) -> None:
        self.assertEqual(self.chat("hi", "", "again"), 0)
        lines = self.out.splitlines()
        self.assertEqual(lines[0], "agent:main:main at ws://127.0.0.1:18789; /help shows what can be typed")
        self.assertEqual(lines[1:4], ["you: earlier", "agent: yes[2J", "tool: 42"])
        self.assertEqual(lines[4:], ["Hello.", "Hello.", ""])
        sent = [(params["message"], params["sessionKey"]) for params in self.gateway.params_of("agent")]
        self.assertEqual(sent, [("hi", "agent:main:main"), ("again", "agent:main:main")])
        self.assertEqual(self.gateway.params_of("chat.history"), [{"sessionKey": "agent:main:main", "limit": 20}])
        self.assertEqual(self.gateway.sockets[0].remoteCloseCode, 1001)

    def test_bytes_that_are_no_text(self) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9\nagain\n"), "utf-8")
        with mock.patch.object(sys, "stdin", stdin):
            self.assertEqual(self.run_command("chat"), 0)
        sent = [params["message"] for params in self.gateway.params_of("agent")]
        self.assertEqual(sent, ["caf\ufffd", "again"])

    def test_options(self) -> None:
        self.chat("hi", options=("--agent", "b", "--session-key", "k", "--thinking", "low", "--timeout", "9"))
        [params] = self.gateway.params_of("agent")
        chosen = {name: params[name] for name in ("agentId", "sessionKey", "thinking", "timeout")}
        self.assertEqual(chosen, {"agentId": "b", "sessionKey": "k", "thinking": "low", "timeout": 9})
        self.assertEqual(self.gateway.params_of("chat.history"), [{"sessionKey": "k", "limit": 20, "agentId": "b"}])
        self.chat(options=("--agent", "b"))
        self.assertIn("agent:b:main at ", self.out)

    def test_commands(self) -> None:
        aborted = [{"ok": True, "aborted": True}, {"ok": True, "aborted": False}]
        self.gateway.methods["chat.abort"] = lambda socket, frame: aborted.pop(0)
        self.assertEqual(self.chat("/help", "/abort", "/abort", "/history", "/x\x1b y", "/exit", "never"), 0)
        for text in ("/history  show", "/new  ", "stopped\n", "nothing is running\n", "unknown: /x;"):
            self.assertIn(text, self.out)
        self.assertEqual(self.out.count("you: earlier"), 2)
        self.assertEqual(self.gateway.params_of("agent"), [])
        self.assertEqual(self.chat("/quit"), 0)

    def test_new(self) -> None:
        self.answer = lambda socket, frame: final("x", "Hello.")
        self.assertEqual(self.chat("hi", "/new", "hi", "/reset", "hi", options=("--agent", "b")), 0)
        first, second, third = [params["sessionKey"] for params in self.gateway.params_of("agent")]
        self.assertEqual(first, "agent:b:main")
        self.assertRegex(second, r"^agent:b:chat-[0-9a-f]{12}$")
        self.assertRegex(third, r"^agent:b:chat-[0-9a-f]{12}$")
        self.assertNotEqual(second, third)
        self.assertIn(f"{second} is new;", self.out)

    def test_new_of_a_name(self) -> None:
        self.chat("/new", "hi", options=("--session-key", "k"))
        self.assertRegex(self.gateway.params_of("agent")[0]["sessionKey"], r"^chat-[0-9a-f]{12}$")

    def test_abort_of_the_session_of_an_agent(self) -> None:
        """A name alone would be a session of the default agent."""
        self.gateway.methods["chat.abort"] = {"ok": True, "aborted": True}
        self.chat("/abort", options=("--agent", "b", "--session-key", "k"))
        self.assertEqual(self.gateway.params_of("chat.abort"), [{"sessionKey": "k", "agentId": "b"}])

    def test_the_gateway_says_which_session_it_is(self) -> None:
        self.gateway.methods["chat.history"] = {"sessionKey": "agent:b:k", "messages": []}
        self.chat("hi", options=("--session-key", "k"))
        self.assertEqual(self.gateway.params_of("agent")[0]["sessionKey"], "agent:b:k")

    def test_ctrl_c_while_there_is_no_connection(self) -> None:
        """Nothing is sent later on."""

        def answer(socket: Any, frame: Any) -> Any:
            def press() -> None:
                self.gateway.challenges = True
                raise KeyboardInterrupt

            socket.close_with(1012, "service restart")
            self.gateway.challenges = False  # the next connection is not made before it is too late
            self.reactor.callLater(1, press)
            return ...

        self.answer = answer
        self.assertEqual(self.chat("hi", "again"), 0)
        self.assertEqual(self.err.splitlines()[-1], "openclaw: nothing was sent")
        self.assertEqual([params["message"] for params in self.gateway.params_of("agent")], ["hi"])

    def test_failures_do_not_end_it(self) -> None:
        self.answer = lambda socket, frame: GatewayError("UNAVAILABLE", "the provider failed")
        self.assertEqual(self.chat("hi", "hi"), 0)
        self.assertEqual(self.err, "openclaw: the provider failed\n" * 2)

    def test_lost_connection_is_made_anew(self) -> None:
        answers = [lambda socket, frame: socket.close_with(1012, "service restart") or ...]

        def answer(socket: Any, frame: Any) -> Any:
            if answers:
                return answers.pop()(socket, frame)
            return final("x", "back")

        self.answer = answer
        self.assertEqual(self.chat("hi", "hi"), 0)
        self.assertIn("has stopped or restarts; the run goes on", self.err)
        self.assertIn("back\n", self.out)
        self.assertEqual(len(self.gateway.sockets), 2)

    def test_lost_in_the_middle_of_a_line(self) -> None:
        """What is told of it begins a line of its own."""

        def answer(socket: Any, frame: Any) -> Any:
            run_id = frame["params"]["idempotencyKey"]
            socket.event("agent", {"runId": run_id, "stream": "assistant", "data": {"text": "half an ans"}})
            socket.close_with(1012, "service restart")
            return ...

        self.answer = answer
        self.chat("hi")
        self.assertIn("half an ans\n", self.out)

    def test_no_gateway(self) -> None:
        self.gateway.methods["connect"] = GatewayError("INVALID_REQUEST", "no", {"code": "AUTH_TOKEN_MISMATCH"})
        self.assertEqual(self.chat("hi"), 1)
        self.assertEqual(len(self.err.splitlines()), 1)

    def interrupting(self, with_what: BaseException, abort: Any) -> None:
        """The next answer hangs; Ctrl-C is pressed after a second."""

        def hang(socket: Any, frame: Any) -> Any:
            def press() -> None:
                raise with_what

            self.frame, self.socket = frame, socket
            self.reactor.callLater(1, press)
            return ...

        self.answer = hang
        self.gateway.methods["chat.abort"] = abort

    def test_ctrl_c_stops_the_answer(self) -> None:
        def abort(socket: Any, frame: Any) -> Any:
            socket.respond(self.frame["id"], {"status": "timeout", "summary": "aborted", "stopReason": "rpc"})
            self.answer = "Hello."
            return {"ok": True, "aborted": True}

        self.interrupting(KeyboardInterrupt(), abort)
        self.assertEqual(self.chat("hi", "and now"), 0)
        self.assertEqual(self.err, "openclaw: the run was aborted\n")
        self.assertIn("Hello.\n", self.out)
        [params] = self.gateway.params_of("chat.abort")
        self.assertEqual(params["sessionKey"], "agent:main:main")

    def test_ctrl_c_too_late(self) -> None:
        def abort(socket: Any, frame: Any) -> Any:
            socket.respond(self.frame["id"], final("x", "done"))
            return {"ok": True, "aborted": False}

        self.interrupting(KeyboardInterrupt(), abort)
        self.chat("hi")
        self.assertEqual(self.err, "openclaw: the answer was complete already\n")

    def test_a_gateway_that_does_not_abort(self) -> None:
        self.interrupting(KeyboardInterrupt(), lambda socket, frame: ...)
        self.chat("hi")
        self.assertEqual(self.err, "openclaw: the gateway does not confirm that it stopped the answer\n")

    def test_sigterm_while_the_connection_is_lost(self) -> None:
        def abort(socket: Any, frame: Any) -> Any:
            socket.close_with(1012, "service restart")
            return ...

        self.interrupting(SystemExit(143), abort)
        self.assertEqual(self.chat("hi", "never"), 143)

    def test_sigterm_aborts_and_ends(self) -> None:
        self.interrupting(SystemExit(143), {"ok": True, "aborted": True})
        self.assertEqual(self.chat("hi", "never"), 143)
        self.assertEqual(len(self.gateway.params_of("chat.abort")), 1)

        class Ends:
            def __str__(self) -> str:
                os.kill(os.getpid(), signal.SIGTERM)
                return "never sent"

        before = signal.getsignal(signal.SIGTERM)
        self.assertEqual(self.chat(Ends()), 143)
        self.assertIs(signal.getsignal(signal.SIGTERM), before)

    def test_ctrl_c_at_the_prompt(self) -> None:
        self.assertEqual(self.chat(KeyboardInterrupt(), "hi"), 0)
        self.assertIn("(Ctrl-D or /exit leaves)", self.out)
        self.assertIn("Hello.", self.out)

    def test_piped(self) -> None:
        self.assertEqual(self.chat("hi", "  ", "again", terminal=False), 0)
        self.assertEqual(self.out, "Hello.\nHello.\n")
        self.assertEqual(self.chat("hi", KeyboardInterrupt(), terminal=False), 130)
        self.answer = lambda socket, frame: GatewayError("UNAVAILABLE", "no")
        self.assertEqual(self.chat("hi", terminal=False), 1)
        self.answer = lambda socket, frame: {"status": "timeout"}
        self.assertEqual(self.chat("hi", terminal=False), 1)
        self.assertIn("took too long", self.err)


class LinesTests(TestCase):
    def test_sources(self) -> None:
        self.patch(sys, "stdin", io.StringIO("a\n\nb"))
        self.assertEqual([stdin_lines() for _ in range(4)], ["a\n", "\n", "b", None])
        self.patch(sys, "stdin", io.StringIO("x" * MAX_LINE_CHARS))
        self.assertEqual(len(stdin_lines() or ""), MAX_LINE_CHARS)
        # its rest must not pass for another message
        self.patch(sys, "stdin", io.StringIO("x" * (MAX_LINE_CHARS + 1)))
        with self.assertRaisesRegex(OpenClawError, "longer than 1000000 characters"):
            stdin_lines()
        read = terminal_lines()
        with mock.patch.object(builtins, "input", lambda prompt: "typed"):
            self.assertEqual(read(), "typed")
