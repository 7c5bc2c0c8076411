"""Each command, run as a process beside a real gateway."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from test.scenario.commands import CommandsTestCase, until
from test.scenario.support import DEADLINE_S, OPENCLAW, TOKEN, Client, Program

LONG_TOKEN = "an-operators-token-0123456789"
WORDS = "w0.0 w1.0 w2.0"
COMMENTED = """// mine
{
  gateway: {
    port: %(port)d, // the usual one
    auth: { token: "%(token)s" },
    http: { endpoints: { chatCompletions: { enabled: true } } },
  },
  models: {
    providers: { p: { baseUrl: "http://127.0.0.1:%(model_port)d/v1", apiKey: "none", models: [{ id: "m" }] } },
  },
  /* all of them */ agents: { defaults: { model: "p/m" } },
}
"""


class AgentTests(CommandsTestCase):
    """C{openclaw agent}."""

    def test_text_json_and_where_the_message_comes_from(self) -> None:
        self.serve()
        done = self.run_command("agent", "-m", "chunks=3")
        self.assertEqual((done.text, done.err), (WORDS, ""))
        self.assertEqual(self.run_command("agent", "-m", "-", stdin=b"chunks=2\n").text, "w0.0 w1.0")
        (self.home / "message").write_text("chunks=1")
        self.assertEqual(self.run_command("agent", "--message-file", "message").text, "w0.0")
        done = self.run_command("agent", "--message-file", "-", "--json", "--agent", "main", stdin=b"chunks=3")
        answer = done.json
        self.assertEqual(done.err, "")
        self.assertEqual((answer["status"], answer["summary"]), ("ok", "completed"))
        (payload,) = answer["result"]["payloads"]
        self.assertEqual((payload["text"].rstrip(), payload["mediaUrl"]), (WORDS, None))
        meta = answer["result"]["meta"]
        self.assertEqual((meta["agentMeta"]["provider"], meta["agentMeta"]["model"]), ("p", "m"))
        self.assertEqual(meta["agentMeta"]["usage"]["output"], 3)
        self.assertGreaterEqual(meta["durationMs"], 0)
        self.assertTrue(answer["runId"])
        self.assertEqual(self.run_command("agent", "--stream", "-m", "chunks=3").text, WORDS)

    def test_one_session_over_both_doors(self) -> None:
        self.serve()
        self.run_command("agent", "--session-key", "agent:main:openai-user:me", "-m", "chunks=1 by command")
        self.assertEqual(Client(self.port).chat("chunks=2 by http", user="me")[0], 200)
        done = self.run_command("agent", "--session-key", "openai-user:me", "-m", "chunks=3 again", "--json")
        session_id = done.json["result"]["meta"]["agentMeta"]["sessionId"]
        params = json.dumps({"sessionKey": "agent:main:openai-user:me"})
        history = self.run_command("gateway", "call", "chat.history", "--params", params).json
        self.assertEqual(history["sessionId"], session_id)
        told = [row["content"] for row in history["messages"] if row["role"] == "user"]
        self.assertEqual(told, ["chunks=1 by command", "chunks=2 by http", "chunks=3 again"])
        done = self.run_command("agent", "--session-id", session_id, "-m", "chunks=1 by id", "--json")
        self.assertEqual(done.json["result"]["meta"]["agentMeta"]["sessionKey"], "agent:main:openai-user:me")
        rows = self.run_command("sessions", "--json").json["sessions"]
        self.assertEqual([row["key"] for row in rows], ["agent:main:openai-user:me"])

    def interrupted(self, number: int, *arguments: str) -> Program:
        """Have a long answer come, and send the command a signal meanwhile."""
        self.serve()
        aborted = self.model_server.stats()["aborted"]
        asking = self.start("agent", "-m", "chunks=2000 delay=20", *arguments)
        if "--stream" in arguments:
            asking.wait_for(r"w5\.0 ")
        else:
            until(lambda: self.model_server.stats()["active"] == 1)
        began_s = time.monotonic()
        self.assertEqual(asking.end(number), 128 + number)
        self.assertLess(time.monotonic() - began_s, 4)
        until(lambda: self.model_server.stats()["aborted"] == aborted + 1)
        self.assertNotIn("Traceback", asking.err)
        done = self.run_command("sessions", "--json")
        self.assertTrue(done.json["sessions"][0]["abortedLastRun"], done.out)
        return asking

    def test_ctrl_c_aborts_the_run(self) -> None:
        asking = self.interrupted(signal.SIGINT, "--stream")
        self.assertTrue(asking.out.startswith("w0.0 w1.0 "))

    def test_sigterm_aborts_the_run(self) -> None:
        self.assertEqual(self.interrupted(signal.SIGTERM, "--json").out, "")

    def test_own_time_limit(self) -> None:
        self.serve()
        done = self.run_command("agent", "-m", "chunks=2000 delay=20", "--timeout", "1", status=1)
        self.assertEqual(len(done.told), 1, done.err)
        self.assertIn("took longer than", done.err)
        until(lambda: self.model_server.stats()["active"] == 0)

    def test_reader_that_leaves(self) -> None:
        self.serve()
        asking = subprocess.Popen(
            (*OPENCLAW, "agent", "--stream", "-m", "chunks=2000 delay=5"),
            env=self.environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(asking.kill)
        assert asking.stdout is not None and asking.stderr is not None
        self.assertEqual(asking.stdout.read(4), b"w0.0")
        asking.stdout.close()
        err = asking.stderr.read().decode()
        asking.stderr.close()
        self.assertNotEqual(asking.wait(DEADLINE_S), 0)
        self.assertNotIn("Traceback", err)
        self.assertNotIn("Exception", err)
        until(lambda: self.model_server.stats()["active"] == 0)


class Terminal:
    """A command on a terminal of its own, as a person has it."""

    def __init__(self, environ: dict[str, str], home: Path, *arguments: str) -> None:
        self.shown = ""
        self.pid, self._descriptor = pty.fork()
        if not self.pid:
            # A shell has its background jobs ignore these, and a program inherits that; a person's terminal does not.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)
            os.chdir(home)
            os.execve(OPENCLAW[0], [*OPENCLAW, *arguments], {**environ, "TERM": "xterm"})

    def wait_for(self, text: str) -> None:
        """Read until it has shown something that was not waited for before."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not re.search(text, self.shown):
            if not self._read(deadline_s - time.monotonic()):
                raise AssertionError(f"{text!r} did not come: {self.shown!r}")
        found = re.search(text, self.shown)
        assert found is not None
        self.shown = self.shown[found.end() :]

    def _read(self, timeout_s: float) -> bool:
        if timeout_s <= 0 or not select.select([self._descriptor], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(OSError):
            more = os.read(self._descriptor, 65536)
            self.shown += more.decode(errors="replace")
            return bool(more)
        return False

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._descriptor, text.encode())

    def wait(self) -> int:
        """Wait for its end; give the exit status."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline_s:
                raise AssertionError(f"it does not end: {self.shown!r}")
            self._read(0.05)

    def close(self) -> None:
        """End it if it has not ended."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._descriptor)


class TerminalTests(CommandsTestCase):
    """Commands on a terminal."""

    def terminal(self, *arguments: str, **environ: str) -> Terminal:
        terminal = Terminal({**self.environ, **environ}, self.home, *arguments)
        self.addCleanup(terminal.close)
        return terminal

    def test_chat(self) -> None:
        self.serve()
        chat = self.terminal("chat")
        chat.wait_for(r"agent:main:main at ws://127\.0\.0\.1:\d+.*\n")
        chat.wait_for("> ")
        chat.type("chunks=3\r")
        chat.wait_for(rf"{WORDS} ?\r\n")
        chat.wait_for("> ")
        chat.type("chunks=2000 delay=20\r")
        chat.wait_for(r"w9\.0 ")
        chat.type("\x03")
        chat.wait_for("aborted")
        until(lambda: self.model_server.stats()["active"] == 0)
        chat.wait_for("> ")
        chat.type("/history\r")
        chat.wait_for("you: chunks=3")
        chat.wait_for(f"agent: {WORDS}")
        chat.wait_for("> ")
        chat.type("/exit\r")
        self.assertEqual(chat.wait(), 0)
        again = self.terminal("chat")
        again.wait_for("you: chunks=3")
        again.wait_for("> ")
        again.type("\x04")
        self.assertEqual(again.wait(), 0)

    def test_chat_by_lines(self) -> None:
        self.serve()
        done = self.run_command("chat", "--session-key", "lines", stdin=b"chunks=2\n\nchunks=1\n")
        self.assertEqual(([line.rstrip() for line in done.out.splitlines()], done.err), (["w0.0 w1.0", "w0.0"], ""))
        self.assertEqual(self.run_command("sessions", "--json").json["sessions"][0]["key"], "agent:main:lines")

    def test_chat_in_a_new_session(self) -> None:
        self.serve()
        done = self.run_command("chat", "--session-key", "lines", stdin=b"chunks=2\n/new\nchunks=1\n")
        told = re.search(r"^(agent:main:chat-\w+) is new;", done.out, re.M)
        assert told is not None, done.out
        rows = self.run_command("sessions", "--json").json["sessions"]
        self.assertEqual([row["key"] for row in rows], [told.group(1), "agent:main:lines"])
        params = json.dumps({"sessionKey": told.group(1)})
        history = self.run_command("gateway", "call", "chat.history", "--params", params).json
        self.assertEqual([row["content"] for row in history["messages"] if row["role"] == "user"], ["chunks=1"])

    def test_agent_streams_and_ctrl_c_aborts(self) -> None:
        self.serve()
        asking = self.terminal("agent", "-m", "chunks=2000 delay=20")
        asking.wait_for(r"w5\.0 ")
        asking.type("\x03")
        self.assertEqual(asking.wait(), 130)
        until(lambda: self.model_server.stats()["active"] == 0)

    def test_colour_unless_it_is_not_wanted(self) -> None:
        self.serve()
        self.run_command("agent", "-m", "chunks=1")
        coloured = self.terminal("sessions")
        coloured.wait_for(r"\x1b\[1m")
        coloured.wait_for("agent:main:main")
        self.assertEqual(coloured.wait(), 0)
        plain = self.terminal("sessions", NO_COLOR="1")
        plain.wait_for("agent:main:main")
        self.assertEqual(plain.wait(), 0)
        self.assertNotIn("\x1b", plain.shown)


class AskingTests(CommandsTestCase):
    """The commands that ask a gateway how it is and what it has."""

    def test_gateway_commands(self) -> None:
        gateway = self.serve()
        done = self.run_command("gateway", "status", "--json", "--require-rpc")
        report = done.json
        self.assertEqual(report["rpc"]["ok"], True)
        self.assertEqual(report["service"]["runtime"], {"status": "running", "pid": gateway.process.pid})
        self.assertEqual(report["gateway"]["port"], self.port)
        self.assertEqual(report["config"]["cli"]["valid"], True)
        self.assertLessEqual({"cli", "logFile", "service", "config", "gateway", "rpc"}, report.keys())
        self.assertIn("RPC probe: ok", self.run_command("gateway", "status").out)
        report = self.run_command("gateway", "probe", "--json").json
        self.assertEqual((report["ok"], report["primaryTargetId"]), (True, "localLoopback"))
        self.assertEqual(report["targets"][0]["connect"]["ok"], True)
        self.assertIn(f"ws://127.0.0.1:{self.port}: reachable", self.run_command("gateway", "probe").out)
        report = self.run_command("gateway", "health", "--json").json
        self.assertEqual((report["ok"], report["defaultAgentId"]), (True, "main"))
        self.assertIn("Agents: main (default)", self.run_command("gateway", "health").out)
        models = self.run_command("gateway", "call", "models.list").json["models"]
        self.assertIn(("p", "m"), [(row["provider"], row["id"]) for row in models])
        answer = self.run_command("gateway", "call", "agent.wait", "--params", '{"runId": "none", "timeoutMs": 1}').json
        self.assertEqual(answer["status"], "timeout")
        self.assertEqual(self.run_command("gateway", "auth-token", "--show").out, f"{TOKEN}\n")
        self.assertNotIn(TOKEN, self.run_command("gateway", "auth-token").out)
        self.assertEqual(gateway.end(), 0)
        self.assertEqual(self.run_command("gateway", "status", "--json", "--no-probe").json["rpc"]["kind"], "skipped")

    def test_status_health_sessions(self) -> None:
        self.serve()
        self.assertEqual(self.run_command("sessions").out, "no sessions yet\n")
        for name in ("one", "two", "three"):
            self.run_command("agent", "--session-key", name, "-m", "chunks=1")
        report = self.run_command("status", "--json").json
        self.assertLessEqual(
            {"runtimeVersion", "heartbeat", "channelSummary", "queuedSystemEvents", "tasks", "sessions", "gateway"},
            report.keys(),
        )
        self.assertEqual((report["gateway"]["reachable"], report["sessions"]["count"]), (True, 3))
        told = self.run_command("status").out
        self.assertIn(f"ws://127.0.0.1:{self.port} reachable", told)
        self.assertIn("agent:main:three", told)
        report = self.run_command("health", "--json").json
        self.assertEqual((report["ok"], report["ready"], report["failing"]), (True, True, []))
        self.assertIn("ready", self.run_command("health").out)
        listing = self.run_command("sessions", "list", "--limit", "2", "--json").json
        keys = ("count", "totalCount", "limitApplied", "hasMore")
        self.assertEqual([listing[key] for key in keys], [2, 3, 2, True])
        row = listing["sessions"][0]
        self.assertEqual((row["key"], row["status"], row["agentId"]), ("agent:main:three", "done", "main"))
        self.assertEqual((row["modelProvider"], row["model"], row["kind"]), ("p", "m", "direct"))
        self.assertGreaterEqual(row["ageMs"], 0)
        self.assertEqual(self.run_command("sessions", "--limit", "all", "--json").json["count"], 3)
        self.assertEqual(
            self.run_command("sessions", "--agent", "other", "--json", status=None).json.get("count", 0), 0
        )
        table = self.run_command("sessions", "--active", "5").out.splitlines()
        self.assertEqual(len(table), 4)
        self.assertTrue(table[0].startswith("Session "))

    def test_logs(self) -> None:
        self.serve()
        self.run_command("agent", "-m", "chunks=1")
        self.write(self.document("a-new-token"))
        self.assertTrue(self.written("gateway.auth.token"))
        done = self.run_command("logs", "--json")
        rows = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual(rows[0]["type"], "meta")
        self.assertLessEqual({"file", "cursor", "size"}, rows[0].keys())
        found = [row for row in rows if row["type"] == "log" and "gateway.auth.token" in row["message"]]
        self.assertLessEqual({"time", "level", "subsystem", "message", "raw"}, found[0].keys())
        self.assertNotIn("a-new-token", done.out)
        told = self.run_command("logs", "--utc", "--limit", "1")
        self.assertTrue(told.out.startswith("Log file: "), told.out)
        following = self.start("logs", "--follow", "--interval", "100")
        following.wait_for("Log file: ")
        self.write({**self.document("a-new-token"), "session": 3})
        following.wait_for("config reload skipped")
        self.assertEqual(following.end(signal.SIGINT), 130)
        self.assertEqual(following.err, "")

    def written(self, text: str) -> bool:
        """Wait until the log files have a text."""
        until(lambda: any(text in path.read_text() for path in self.state_dir.glob("logs/*.log")))
        return True

    def test_logs_of_a_gateway_that_has_ended(self) -> None:
        gateway = self.serve()
        self.write({})
        self.assertTrue(self.written("config reload"))
        self.write(self.document())
        self.assertEqual(gateway.end(), 0)
        done = self.run_command("logs")
        self.assertIn("config reload", done.out)
        self.assertIn("this is the log file of this machine", done.err)
        self.assertEqual(len(done.told), 1)

    def test_commands_without_a_gateway(self) -> None:
        for shell, word in (("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")):
            self.assertIn(word, self.run_command("completion", shell).out)
        self.assertEqual(self.run_command("config", "file").out, f"{self.config_path()}\n")
        self.assertTrue(self.run_command("--version").out.startswith("openclaw "))
        completed = self.run_command(
            _OPENCLAW_COMPLETE="bash_complete", COMP_WORDS="openclaw gateway st", COMP_CWORD="2"
        )
        self.assertEqual(completed.out.split(), ["plain,start", "plain,status", "plain,stop"])


class ConfigTests(CommandsTestCase):
    """The commands that change the configuration, and a running gateway that follows."""

    def serve_commented(self) -> Program:
        """A gateway whose configuration has comments."""
        self.state_dir.mkdir(mode=0o700)
        fields = {"port": self.port, "token": LONG_TOKEN, "model_port": self.model_server.port}
        self.config_path().write_text(COMMENTED % fields)
        self.config_path().chmod(0o600)
        return self.gateway()

    def text(self) -> str:
        """The configuration file."""
        return self.config_path().read_text()

    def assert_comments_kept(self) -> None:
        for comment in ("// mine", "// the usual one", "/* all of them */"):
            self.assertIn(comment, self.text())

    def test_set_is_applied_by_a_running_gateway(self) -> None:
        gateway = self.serve_commented()
        before = self.text()
        report = self.run_command("config", "set", "agents.defaults.timeoutSeconds", "7", "--dry-run", "--json").json
        self.assertEqual((report["ok"], report["operations"], report["inputModes"]), (True, 1, ["json"]))
        self.assertEqual(report["checks"]["schema"], True)
        self.assertEqual(self.text(), before)
        done = self.run_command("config", "set", "gateway.auth.token", "another-operators-token-0123")
        self.assertIn("applies this at once", done.out)
        self.assert_comments_kept()
        gateway.wait_for("applied: gateway.auth.token")
        self.assertEqual(self.run_command("agent", "-m", "chunks=1").text, "w0.0")
        self.assertEqual(Client(self.port, LONG_TOKEN).get("/v1/models")[0], 401)
        done = self.run_command("config", "set", "gateway.port", str(self.port + 1), "--json")
        self.assertEqual(done.json["effect"], "restart")
        gateway.wait_for("needs a restart")

    def test_get_unset_patch_validate_schema(self) -> None:
        self.serve_commented()
        self.assertEqual(self.run_command("config", "get", "gateway.port").out, f"{self.port}\n")
        self.assertEqual(
            self.run_command("config", "get", "gateway.auth", "--json").json, {"token": "__OPENCLAW_REDACTED__"}
        )
        unknown = self.run_command("config", "get", "gateway.prot", status=1)
        unset = self.run_command("config", "get", "gateway.bind", status=1)
        self.assertNotEqual(unknown.err.partition("bind")[0], unset.err.partition("bind")[0])
        self.assert_failed(unknown, "no such setting")
        self.assert_failed(unset, "not set")
        self.run_command("config", "set", "gateway.bind", "loopback")
        self.assertEqual(self.run_command("config", "get", "gateway.bind").out, "loopback\n")
        self.run_command("config", "unset", "gateway.bind")
        self.assert_failed(self.run_command("config", "unset", "gateway.bind", status=1), "gateway.bind")
        changes = b'{gateway: {bind: "loopback"}, agents: {defaults: {timeoutSeconds: 30}}}'
        report = self.run_command("config", "patch", "--stdin", "--json", stdin=changes).json
        self.assertEqual((report["ok"], report["written"]), (True, True))
        self.assertEqual(self.run_command("config", "get", "agents.defaults.timeoutSeconds").out, "30\n")
        self.assert_comments_kept()
        report = self.run_command("config", "validate", "--json").json
        self.assertEqual(report, {"valid": True, "path": str(self.config_path()), "warnings": []})
        self.assertIn("gateway", self.run_command("config", "schema").json["properties"])
        refused = self.run_command("config", "set", "gateway.port", "no", status=1)
        self.assertIn("gateway.port", refused.err)
        self.assert_comments_kept()

    def test_models_and_agents(self) -> None:
        gateway = self.serve_commented()
        rows = self.run_command("models", "list", "--json").json
        self.assertEqual(rows["count"], len(rows["models"]))
        self.assertLessEqual(
            {"key", "name", "input", "contextWindow", "local", "available", "tags"}, rows["models"][0].keys()
        )
        report = self.run_command("models", "status", "--json", "--check").json
        self.assertEqual((report["defaultModel"], report["resolvedDefault"]), ("p/m", "p/m"))
        self.assertEqual(self.run_command("models", "status", "--plain").out, "p/m\n")
        new = '[{"id": "m"}, {"id": "n"}]'
        self.run_command("config", "set", "models.providers.p.models", new, "--strict-json")
        self.run_command("models", "set", "p/n")
        self.assert_comments_kept()
        gateway.wait_for("agents.defaults.model")
        answer = self.run_command("agent", "-m", "chunks=1", "--json").json
        self.assertEqual(answer["result"]["meta"]["agentMeta"]["model"], "n")
        added = self.run_command("agents", "add", "second", "--model", "p/m", "--non-interactive", "--json").json
        self.assertEqual((added["ok"], added["agentId"]), (True, "second"))
        rows = self.run_command("agents", "list", "--json").json
        self.assertEqual([(row["id"], row["isDefault"]) for row in rows], [("main", True), ("second", False)])
        until(lambda: self.run_command("agent", "--agent", "second", "-m", "chunks=1", status=None).text == "w0.0")
        self.assertEqual(self.run_command("sessions", "--agent", "second", "--json").json["count"], 1)
        self.assert_failed(self.run_command("agents", "delete", "second", status=1), "add --force")
        self.assertTrue(self.run_command("agents", "delete", "second", "--force", "--json").json["ok"])
        self.assertEqual([row["id"] for row in self.run_command("agents", "list", "--json").json], ["main"])
        self.assert_comments_kept()

    def test_doctor(self) -> None:
        self.serve_commented()
        self.state_dir.chmod(0o755)
        report = self.run_command("doctor", "--json").json
        self.assertEqual((report["schemaVersion"], report["checksSkipped"]), (1, 0))
        modes = [row for row in report["findings"] if row["checkId"].endswith("file-modes")]
        self.assertIn("chmod 700", modes[0]["fixHint"])
        for row in report["findings"]:
            self.assertLessEqual({"checkId", "severity", "message", "fixHint"}, row.keys())
        self.assertEqual(self.run_command("doctor").status, 0)
        self.run_command("doctor", "--lint", status=1)
        self.assertIn("repaired", self.run_command("doctor", "--fix", "--non-interactive").out)
        self.assertEqual(self.state_dir.stat().st_mode & 0o777, 0o700)
        self.run_command("doctor", "--lint", "--severity-min", "error")


class FirstHourTests(CommandsTestCase):
    """From nothing to an agent that answers."""

    def test_onboard_run_and_ask(self) -> None:
        options = {
            "--auth-choice": "custom-api-key",
            "--custom-base-url": f"http://127.0.0.1:{self.model_server.port}/v1",
            "--custom-model-id": "m",
            "--custom-provider-id": "mine",
            "--custom-compatibility": "openai",
            "--custom-api-key": "sk-mine-0123456789abcdef",
            "--gateway-port": str(self.port),
            "--gateway-bind": "loopback",
        }
        given = [word for option in options.items() for word in option]
        done = self.run_command("onboard", "--non-interactive", "--accept-risk", *given, "--skip-health", "--json")
        self.assertEqual((done.json["ok"], done.json["model"]), (True, "mine/m"))
        self.assertNotIn("sk-mine", done.out + done.err)
        self.assertEqual(self.config_path().stat().st_mode & 0o777, 0o600)
        self.gateway()
        self.assertEqual(self.run_command("agent", "-m", "chunks=2").text, "w0.0 w1.0")
        token = self.run_command("gateway", "auth-token", "--show").out.strip()
        self.assertEqual(Client(self.port, token).chat("chunks=1")[0], 200)
        before = self.config_path().read_text()
        again = self.run_command("onboard", "--non-interactive", "--accept-risk", *given, "--skip-health")
        self.assertIn("Nothing to change", again.out)
        self.assertEqual(self.config_path().read_text(), before)

    def test_onboard_asks_the_provider(self) -> None:
        given = (
            "--auth-choice",
            "custom-api-key",
            "--custom-base-url",
            "http://127.0.0.1:1/v1",
            "--custom-model-id",
            "m",
        )
        done = self.run_command("onboard", "--non-interactive", "--accept-risk", *given)
        self.assertIn("warning: ", done.err)
        self.assertTrue(self.config_path().exists())
        self.assert_failed(self.run_command("onboard", "--non-interactive", status=1), "--accept-risk")
        self.assert_failed(self.run_command("onboard", status=1), "--non-interactive")

    def test_quickstart_runs_what_is_configured(self) -> None:
        self.write(self.document())
        quick = self.start("quickstart")
        quick.wait_for(f"http://127.0.0.1:{self.port}")
        self.assertEqual(self.run_command("agent", "-m", "chunks=1").text, "w0.0")
        self.assertEqual(quick.end(), 0)


class RemoteTests(CommandsTestCase):
    """A gateway that the configuration of this machine does not start."""

    def test_url_variables_and_gateway_remote(self) -> None:
        self.serve()
        elsewhere = self.home / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        place = {"OPENCLAW_STATE_DIR": str(elsewhere)}
        for url in (f"ws://127.0.0.1:{self.port}", f"http://localhost:{self.port}/"):
            done = self.run_command("agent", "-m", "chunks=1", "--url", url, "--token", TOKEN, **place)
            self.assertEqual(done.text, "w0.0")
        variables = {"OPENCLAW_GATEWAY_URL": f"ws://127.0.0.1:{self.port}", "OPENCLAW_GATEWAY_TOKEN": TOKEN, **place}
        self.assertEqual(
            self.run_command("gateway", "probe", "--json", **variables).json["targets"][0]["id"], "explicit"
        )
        remote = {"url": f"ws://127.0.0.1:{self.port}", "token": TOKEN}
        self.write({"gateway": {"mode": "remote", "remote": remote}}, elsewhere / "openclaw.json")
        self.assertEqual(self.run_command("agent", "-m", "chunks=1", **place).text, "w0.0")
        self.assertEqual(self.run_command("status", "--json", **place).json["gateway"]["mode"], "remote")


class BackupTests(CommandsTestCase):
    """A copy of a gateway that works meanwhile."""

    def test_create_under_load_verify_restore_and_go_on(self) -> None:
        gateway = self.serve()
        self.run_command("agent", "--session-key", "kept", "-m", "chunks=1 before")
        done, stop = [0], threading.Event()

        def load() -> None:
            while not stop.is_set():
                done[0] += Client(self.port).chat(f"chunks=3 {done[0]}", user=f"u{done[0] % 5}")[0] == 200

        busy = threading.Thread(target=load, daemon=True)
        busy.start()
        self.addCleanup(stop.set)
        until(lambda: done[0] > 10)
        target = self.home / "copy.tar.gz"
        report = self.run_command("backup", "create", str(target), "--json").json
        count = done[0]
        until(lambda: done[0] > count + 5)
        stop.set()
        busy.join(DEADLINE_S)
        self.assertEqual((report["ok"], report["path"]), (True, str(target)))
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)
        self.assertTrue(self.run_command("backup", "verify", str(target), "--json").json["ok"])
        refused = self.run_command("backup", "restore", str(target), status=None)
        self.assertNotEqual(refused.status, 0)
        self.assertIn(f"pid {gateway.process.pid}", refused.err)
        other = {"OPENCLAW_STATE_DIR": str(self.home / "other")}
        report = self.run_command("backup", "restore", str(target), "--json", **other).json
        self.assertEqual(report["kept"], [])
        self.assertEqual(gateway.end(), 0)
        self.environ |= other
        self.gateway()
        self.run_command("agent", "--session-key", "kept", "-m", "chunks=2 after")
        params = '{"sessionKey": "agent:main:kept"}'
        rows = self.run_command("gateway", "call", "chat.history", "--params", params).json["messages"]
        told = [row["content"] if row["role"] == "user" else row["content"][0]["text"].rstrip() for row in rows]
        self.assertEqual(told, ["chunks=1 before", "w0.0", "chunks=2 after", "w0.0 w1.0"])
        with contextlib.closing(sqlite3.connect(self.home / "other" / "gateway.sqlite")) as store:
            self.assertEqual(store.execute("PRAGMA integrity_check").fetchone(), ("ok",))

    def test_damaged(self) -> None:
        self.write(self.document())
        target = self.home / "copy.tar.gz"
        self.run_command("backup", "create", str(target))
        content = bytearray(target.read_bytes())
        content[len(content) // 2] ^= 0xFF
        target.write_bytes(content)
        self.assert_failed(self.run_command("backup", "verify", str(target), status=1), str(target))
        done = self.run_command("backup", "restore", str(target), "--force", "--json", status=1)
        self.assert_failed_json(done, "cli_error", str(target))

    def test_nothing_but_json(self) -> None:
        self.serve()
        values: dict[str, Any] = {}
        for command in (
            "agents list", "config file", "config get", "config validate", "doctor", "gateway health", "gateway probe",
            "gateway status", "health", "models list", "models status", "sessions", "status",
        ):  # fmt: skip
            done = self.run_command(*command.split(), "--json")
            values[command] = done.json
            self.assertEqual(done.err, "", command)
        self.assertNotIn(TOKEN, json.dumps(values))
