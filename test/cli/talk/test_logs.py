"""C{openclaw logs}."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.error import ConnectionRefusedError

from test.cli.gateway_fake import GatewayError, RemoteTestCase, garbage

LINE = json.dumps(
    {"time": "2026-11-22T20:00:27.523+00:00", "level": "warn", "subsystem": "store", "message": "slow\x1b[31m"}
)

THEIRS = json.dumps(
    {
        "0": json.dumps({"subsystem": "gateway/reload"}),
        "_meta": {"logLevelName": "INFO"},
        "time": "2026-11-22T20:00:27.523+00:00",
        "message": "applied",
    }
)


class LogsTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.piece: dict[str, Any] = {"file": "/l", "cursor": 9, "size": 9, "lines": [LINE, THEIRS, "odd", "[1]"]}
        self.gateway.methods["logs.tail"] = lambda socket, frame: self.piece

    def test_text(self) -> None:
        self.assertEqual(self.run_command("logs", "--utc", "--limit", "7", "--max-bytes", "99"), 0)
        self.assertEqual(
            self.out.splitlines(),
            [
                "Log file: /l",
                "2026-11-22 20:00:27Z warn  store        slow\x1b[31m",
                "2026-11-22 20:00:27Z info  gateway/reload applied",
                "odd",
                "[1]",
            ],
        )
        self.assertEqual(self.gateway.params_of("logs.tail"), [{"limit": 7, "maxBytes": 99}])

    def test_terminal(self) -> None:
        os.environ["TERM"] = "xterm"
        os.environ.pop("NO_COLOR", None)
        self.run_command("logs", "--utc", terminal=True)
        self.assertIn("\x1b[33m2026-11-22 20:00:27Z warn  store       \x1b[0m slow[31m\n", self.out)
        for arguments, colour in ((("--plain",), None), ((), "1")):
            os.environ.update({"NO_COLOR": colour} if colour else {})
            self.run_command("logs", *arguments, terminal=True)
            self.assertNotIn("\x1b", self.out)

    def test_json(self) -> None:
        self.piece["truncated"] = True
        self.assertEqual(self.run_command("logs", "--json"), 0)
        told = [json.loads(line) for line in self.out.splitlines()]
        self.assertEqual([row["type"] for row in told], ["meta", "log", "log", "raw", "raw", "notice"])
        self.assertEqual(told[0], {"type": "meta", "file": "/l", "cursor": 9, "size": 9, "sourceKind": "file"})
        self.assertEqual(
            told[2],
            {
                "type": "log",
                "time": "2026-11-22T20:00:27.523+00:00",
                "level": "info",
                "subsystem": "gateway/reload",
                "message": "applied",
                "raw": THEIRS,
            },
        )

    def test_notices_are_no_lines(self) -> None:
        self.piece.update(truncated=True, reset=True)
        self.run_command("logs")
        self.assertEqual(len(self.err.splitlines()), 2)
        self.assertNotIn("truncated", self.out)

    def test_follow(self) -> None:
        asked: list[Any] = []

        def tail(socket: Any, frame: Any) -> Any:
            asked.append((self.reactor.seconds(), frame["params"].get("cursor")))
            if len(asked) == 3:
                self.reactor.callLater(0.1, os.kill, os.getpid(), signal.SIGINT)
            return {"file": "/l", "cursor": len(asked) * 10, "lines": [f"line {len(asked)}"]}

        self.gateway.methods["logs.tail"] = tail
        self.assertEqual(self.run_command("logs", "--follow", "--interval", "500"), 130)
        self.assertEqual(self.out.splitlines(), ["Log file: /l", "line 1", "line 2", "line 3"])
        self.assertEqual([cursor for _, cursor in asked], [None, 10, 20])
        self.assertAlmostEqual(asked[1][0] - asked[0][0], 0.5, delta=0.01)

    def test_refused(self) -> None:
        self.gateway.methods["logs.tail"] = GatewayError("FORBIDDEN", "missing scope: operator.read")
        self.assertEqual(self.run_command("logs", "--json"), 1)
        self.assertEqual(self.json_out()["error"]["code"], "FORBIDDEN")
        self.gateway.methods["logs.tail"] = lambda socket, frame: None
        self.assertEqual(self.run_command("logs"), 0)

    def write_log(self, day: str, *lines: str) -> str:
        path = self.state_dir / "logs" / f"openclaw-{day}.log"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        return str(path)

    def test_not_running(self) -> None:
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("logs"), 1)
        self.assertIn("there is no log file in ", self.err)
        self.write_log("2026-11-21", "old")
        path = self.write_log("2026-11-22", LINE, "new")
        self.assertEqual(self.run_command("logs", "--limit", "1"), 0)
        self.assertEqual(self.out, f"Log file: {path}\nnew\n")
        self.assertIn("no gateway answers at", self.err.splitlines()[0])
        self.assertIn("this is the log file of this machine", self.err.splitlines()[0])

    def test_not_running_elsewhere(self) -> None:
        self.serve = ConnectionRefusedError()
        self.write_log("2026-11-22", "new")
        self.assertEqual(self.run_command("logs", "--url", "ws://127.0.0.1:1"), 1)
        self.assertEqual(self.out, "")

    def test_follows_the_file(self) -> None:
        self.serve = ConnectionRefusedError()
        self.write_log("2026-11-22", "one")
        naps: list[float] = []

        def nap(delay_s: float) -> None:
            naps.append(delay_s)
            if len(naps) == 3:
                raise KeyboardInterrupt
            if len(naps) == 1:
                self.write_log("2026-11-22", "two")
            else:
                for path in (self.state_dir / "logs").iterdir():
                    path.unlink()

        with mock.patch.object(time, "sleep", nap):
            self.assertEqual(self.run_command("logs", "-f"), 130)
        self.assertEqual(self.out.splitlines()[1:], ["one", "two"])
        self.assertEqual(naps, [1.0] * 3)

    def test_follows_from_file_to_file(self) -> None:
        """No line is lost or told twice when a day or a full file ends between two looks."""
        self.serve = ConnectionRefusedError()
        folder = self.state_dir / "logs"
        first = Path(self.write_log("2026-11-22", "one"))

        def nap(delay_s: float) -> None:
            naps.append(delay_s)
            if len(naps) == 1:  # another day begins, with more in its file than the cursor says
                self.write_log("2026-11-22", "two")
                self.write_log("2026-11-23", "three", "four-" * 20, "five")
            elif len(naps) == 2:  # a file is full
                second = Path(self.write_log("2026-11-23", "six"))
                second.rename(folder / "openclaw-2026-11-23.1.log")
                self.write_log("2026-11-23", "seven")
            elif len(naps) == 3:  # it is gone altogether
                (folder / "openclaw-2026-11-23.1.log").unlink()
                first.unlink()
                (folder / "openclaw-2026-11-23.log").write_text("8\n")
            else:
                raise KeyboardInterrupt

        naps: list[float] = []
        with mock.patch.object(time, "sleep", nap):
            self.assertEqual(self.run_command("logs", "-f"), 130)
        told = [line for line in self.out.splitlines()[1:] if not line.startswith("four")]
        self.assertEqual(told, ["one", "two", "three", "five", "six", "seven", "8"])

    def test_follows_the_gateway_into_another_day(self) -> None:
        """A cursor says nothing of another file, however large that is already."""
        asked: list[Any] = []

        def tail(socket: Any, frame: dict[str, Any]) -> Any:
            cursor = frame["params"].get("cursor")
            asked.append(cursor)
            if len(asked) == 1:
                return {"file": "a", "cursor": 5, "lines": ["one"]}
            if len(asked) < 4:
                return {"file": "b", "cursor": 9, "lines": ["two", "three"] if cursor == 0 else ["e"]}
            return GatewayError("UNAVAILABLE", "enough")

        self.gateway.methods["logs.tail"] = tail
        self.assertEqual(self.run_command("logs", "-f"), 1)
        self.assertEqual(asked, [None, 5, 0, 9])
        self.assertEqual(self.out.splitlines()[1:], ["one", "two", "three"])

    def follow_over_a_restart(self, *refusals: Any) -> tuple[list[Any], list[float]]:
        """
        Follow a gateway that restarts.

        @param refusals: what the attempts to reach it meet, before it is back.
        @return: the cursors that it was asked for, and when the attempts were made, seconds from its end.
        """
        cursors: list[Any] = []
        ended_s = 0.0

        def tail(socket: Any, frame: dict[str, Any]) -> Any:
            nonlocal ended_s
            cursors.append(frame["params"].get("cursor"))
            if len(cursors) == 2:
                ended_s = self.reactor.seconds()
                self.reactor.serve = mock.Mock(buildProtocol=meet)
                socket.close_with(1012, "service restart")
                return ...
            if len(cursors) == 4:
                self.reactor.callLater(0.1, os.kill, os.getpid(), signal.SIGINT)
            return {"file": "/l", "cursor": len(cursors) * 10, "lines": [f"line {len(cursors)}"]}

        def meet(addr: Any) -> Any:
            """Meets each attempt as the test says, and then with the gateway."""
            attempts.append(self.reactor.seconds() - ended_s)
            refusal = refusals[len(attempts) - 1] if len(attempts) <= len(refusals) else None
            self.gateway.methods["connect"] = refusal or (lambda socket, frame: self.gateway.hello)
            return garbage(b"").buildProtocol(addr) if refusal is ... else self.gateway.buildProtocol(addr)

        attempts: list[float] = []
        self.gateway.methods["logs.tail"] = tail
        self.status = self.run_command("logs", "-f")
        return cursors, [round(at) for at in attempts]

    def test_follows_over_a_restart(self) -> None:
        """Nothing is lost, nothing is told twice; waits grow, and not for ever."""
        starting = GatewayError("UNAVAILABLE", "starting")
        cursors, attempts = self.follow_over_a_restart(..., starting, ..., ..., starting, ...)
        self.assertEqual(self.status, 130, self.err)
        self.assertEqual(cursors, [None, 10, 10, 30])
        self.assertEqual(self.out.splitlines()[1:], ["line 1", "line 3", "line 4"])
        self.assertEqual(attempts, [1, 3, 7, 15, 25, 35, 45])
        [line] = self.err.splitlines()
        self.assertIn("has stopped or restarts; waiting for it to come back (Ctrl-C ends this)", line)
        self.assertTrue(all(not call.active() for call in self.reactor.getDelayedCalls()))

    def test_the_one_that_comes_back_does_not_want_us(self) -> None:
        refusal = GatewayError("INVALID_REQUEST", "unauthorized", {"code": "AUTH_TOKEN_MISMATCH"})
        self.follow_over_a_restart(..., refusal)
        self.assertEqual(self.status, 1)
        self.assertIn("does not accept the token", self.err.splitlines()[-1])

    def test_the_one_that_comes_back_has_another_token(self) -> None:
        seen: list[Any] = []

        def refused(socket: Any, frame: dict[str, Any]) -> Any:
            seen.append(frame["params"]["auth"])
            self.write({"gateway": {"auth": {"mode": "token", "token": f"another-{len(seen)}"}}})
            return GatewayError("UNAVAILABLE", "starting")

        self.follow_over_a_restart(refused, refused)
        self.assertEqual(seen, [{"token": "s3cret"}, {"token": "another-1"}])
        self.assertEqual(self.status, 130)

    def test_a_configuration_that_is_being_edited_meanwhile(self) -> None:
        def refused(socket: Any, frame: dict[str, Any]) -> Any:
            self.write("{ half")
            self.reactor.callLater(3, self.write, {"gateway": {"auth": {"mode": "token", "token": "s3cret"}}})
            return GatewayError("UNAVAILABLE", "starting")

        _, attempts = self.follow_over_a_restart(refused)
        self.assertEqual((self.status, attempts), (130, [1, 7]))

    def test_ctrl_c_while_waiting(self) -> None:
        def tail(socket: Any, frame: dict[str, Any]) -> Any:
            if self.gateway.params_of("logs.tail")[1:]:
                self.reactor.serve = ConnectionRefusedError()
                self.reactor.callLater(30, os.kill, os.getpid(), signal.SIGINT)
                socket.close_with(1012, "service restart")
                return ...
            return {"file": "/l", "cursor": 1, "lines": ["one"]}

        self.gateway.methods["logs.tail"] = tail
        self.assertEqual(self.run_command("logs", "-f"), 130)
        self.assertEqual(len(self.err.splitlines()), 1)

    def test_a_restart_without_following(self) -> None:
        self.gateway.methods["logs.tail"] = lambda socket, frame: socket.close_with(1012, "service restart") or ...
        self.assertEqual(self.run_command("logs", "--url", "ws://127.0.0.1:18789"), 1)
        self.assertIn("has stopped or restarts", self.err)

    def test_a_gateway_that_tells_something_else(self) -> None:
        for answer in (None, [], {"lines": 5}, {"lines": [None, 5]}, {"lines": "x", "file": []}):
            self.gateway.methods["logs.tail"] = lambda socket, frame, answer=answer: answer
            self.assertEqual(self.run_command("logs"), 0, self.err)
