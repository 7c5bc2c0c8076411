"""
Every shell command of the documentation, run as it stands there.

The commands of the pages' C{sh} blocks are collected; each has to be in one of the tables below.  They run in a home
folder of their own, against a real gateway and a model server on this machine, with its port in the place of 18789.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import attrs
from twisted.trial.unittest import SkipTest, TestCase

import openclaw
from test.scenario.support import DEADLINE_S, OPENCLAW, GatewayTestCase, free_port

ROOT = Path(openclaw.__file__).parent.parent
DOCS = ROOT / "docs"
MODEL_URL = "https://api.openai.com/v1"
PORT = "18789"


@attrs.frozen
class Outcome:
    """
    What is expected of a command.

    @ivar printed: a part of what it prints, on whichever stream.
    @ivar status: its exit status.
    @ivar stdin: what it reads.
    @ivar after_an_edit: it shows what an edit has the gateway do at each request, within a second.
    """

    printed: str = ""
    status: int = 0
    stdin: str = ""
    after_an_edit: bool = False


WITHOUT_A_GATEWAY = {
    "openclaw gateway install --dry-run": Outcome("ExecStart="),
    "openclaw gateway install --socket --dry-run": Outcome("ListenStream=127.0.0.1"),
    "openclaw config file": Outcome("openclaw.json"),
    "openclaw config validate": Outcome("valid"),
    "openclaw config get gateway.port": Outcome(PORT),
    "openclaw config set gateway.http.cors.allowedOrigins '[\"https://notes.example\"]'": Outcome(),
    "openclaw config set agents.defaults.maxQueued 500 --dry-run": Outcome(),
    "openclaw config unset gateway.http.cors.allowedOrigins": Outcome(),
    "echo '{ agents: { entries: { main: { name: \"Aunt\" } } } }' | openclaw config patch --stdin": Outcome(),
    "openclaw config schema": Outcome("$schema"),
    "openclaw models set local/smollm2-135m": Outcome("local/smollm2-135m"),
    "openclaw models list": Outcome("p/m"),
    "openclaw models status": Outcome("local/smollm2-135m"),
    "openclaw doctor": Outcome(),
    "openclaw doctor --lint": Outcome(status=1),
    "openclaw doctor --lint --json": Outcome('"findings"', status=1),
    "openclaw backup create openclaw-backup.tar.gz": Outcome("openclaw-backup.tar.gz"),
    "openclaw backup verify openclaw-backup.tar.gz": Outcome(),
    "openclaw backup restore openclaw-backup.tar.gz --force": Outcome(),
}
"""In this order, in one home folder; the models are found by C{doctor} to lack their weights, hence the 1."""

WITH_A_GATEWAY = {
    'openclaw agent -m "What is the capital of France?"': Outcome("w0.0"),
    "openclaw chat": Outcome("w0.0", stdin="Hello\n"),
    """curl -N http://127.0.0.1:18789/v1/chat/completions \\
  -H "Authorization: Bearer $(openclaw gateway auth-token --show)" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "openclaw", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}'""": Outcome(
        "data: [DONE]"
    ),
    'curl http://127.0.0.1:18789/v1/models -H "Authorization: Bearer $(openclaw gateway auth-token --show)"': Outcome(
        "openclaw/main"
    ),
    "openclaw agents add research --model openai/gpt-5-mini": Outcome("research"),
    "openclaw agents list": Outcome("research"),
    "openclaw agents delete research --force": Outcome("research"),
    "openclaw status": Outcome("main"),
    "openclaw gateway status": Outcome("valid"),
    "openclaw gateway probe": Outcome("reachable"),
    "openclaw health --json": Outcome('"ready"'),
    "openclaw logs --limit 50": Outcome(),
    "openclaw config set logging.level info,http=debug": Outcome(),
    "openclaw config set agents.defaults.maxConcurrent 64": Outcome(),
    "openclaw config set session.maintenance.mode warn": Outcome(),
    "openclaw sessions --limit 20": Outcome("agent:main:main"),
    "openclaw sessions --active 1440": Outcome("agent:main:main"),
    'curl http://127.0.0.1:18789/metrics -H "Authorization: Bearer $(openclaw gateway auth-token --show)"': Outcome(
        "openclaw_build_info"
    ),
    # Each request is a line since the level was set.
    "openclaw logs --json | jq 'select(.type == \"log\").raw | fromjson | select(.requestId)'": Outcome(
        '"requestId"', after_an_edit=True
    ),
    "openclaw gateway call health": Outcome('"ok": true'),
    "openclaw gateway call sessions.list --params '{\"limit\": 5}'": Outcome('"sessions"'),
    """openclaw gateway call agent --expect-final \
--params '{"message": "Hello!", "sessionKey": "agent:main:main"}'""": Outcome("w0.0"),
    'openclaw config set gateway.auth.token "$(openssl rand -hex 32)"': Outcome(),
}
"""In this order, while one gateway runs."""

ONBOARD = """openclaw onboard --non-interactive --accept-risk --auth-choice custom-api-key \\
  --custom-provider-id openai --custom-base-url https://api.openai.com/v1 \\
  --custom-model-id gpt-5-mini --custom-api-key '${OPENAI_API_KEY}'"""

SERVERS = ("openclaw gateway run", "twistd -n openclaw")
"""They run until they are told to end."""

FOLLOW = "openclaw logs --follow"

EXCEPTIONS = {
    "python3 -m venv .venv && .venv/bin/pip install -q '.[local]' && .venv/bin/openclaw quickstart": "installs from "
    "the package index; it is in the README too, and run from there",
    ".venv/bin/pip install -q --upgrade '.[local]'": "installs from the package index, as the one above",
    ". .venv/bin/activate": "changes the shell that reads it, and nothing else",
    "loginctl enable-linger": "needs systemd, and changes this machine",
    "openclaw gateway install --now": "needs systemd: test/cli/gateway/test_install.py has one of its own",
    "sudo openclaw gateway install --system --run-as openclaw --now": "needs root and systemd",
    "openclaw gateway start": "needs systemd",
    "openclaw gateway stop": "needs systemd",
    "openclaw gateway restart": "needs systemd",
    "openclaw gateway uninstall": "needs systemd",
    "openclaw models pull smollm2-135m": "fetches 100 MB: test/scenario/test_readme.py runs it",
    "ssh -N -L 18789:127.0.0.1:18789 agents.example": "needs another machine",
    "twistd -n openclaw --endpoint unix:/run/openclaw.sock:mode=600": "writes to /run: test/scenario/test_twistd.py "
    "has the same with another path",
}
"""Commands that are not run here, each with the reason."""


def documented() -> dict[str, str]:
    """The commands of all pages, each with its page; a command's continued lines belong to it."""
    found: dict[str, str] = {}
    for path in sorted(DOCS.rglob("*.md")):
        for indent, block in re.findall(r"^( *)```sh\n(.*?)^ *```", path.read_text("utf-8"), re.M | re.S):
            text = re.sub(f"^{indent}", "", block, flags=re.M)
            for command in re.split(r"(?<!\\)\n", text.rstrip("\n")):
                found[command] = path.name
    return found


class DocsAreCoveredTests(TestCase):
    """The pages hold nothing that is not known here."""

    def setUp(self) -> None:
        if not DOCS.exists():
            raise SkipTest("not a checkout")

    def test_commands(self) -> None:
        known = {*WITHOUT_A_GATEWAY, *WITH_A_GATEWAY, ONBOARD, *SERVERS, FOLLOW, *EXCEPTIONS}
        commands = documented()
        self.assertEqual({command: page for command, page in commands.items() if command not in known}, {}, "unknown")
        self.assertEqual(sorted(known - set(commands)), [], "not in the pages any more")

    def test_languages(self) -> None:
        """A block of commands is not hidden under another name."""
        for path in sorted(DOCS.rglob("*.md")):
            for language in re.findall(r"^ *```([^\s`]+)", path.read_text("utf-8"), re.M):
                self.assertIn(language, ("sh", "json", "json5", "text", "{toctree}"), path.name)

    def test_exceptions_that_others_run(self) -> None:
        """What is left to the README's test is in the README."""
        readme = (ROOT / "README.md").read_text("utf-8")
        for command, reason in EXCEPTIONS.items():
            if "run from there" in reason:
                self.assertIn(command, readme)


class CommandsTests(GatewayTestCase):
    """The commands, as a reader gives them."""

    timeout = 300

    def setUp(self) -> None:
        if not DOCS.exists():
            raise SkipTest("not a checkout")
        super().setUp()
        programs = self.home / "bin"
        programs.mkdir()
        twistd = (sys.executable, "-P", "-c", "from twisted.scripts.twistd import run; run()")
        for name, command in (("openclaw", OPENCLAW), ("twistd", twistd)):
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            script.chmod(0o755)
        self.environ["PATH"] = f"{programs}{os.pathsep}{self.environ['PATH']}"
        self.environ["OPENAI_API_KEY"] = "sk-none"

    def here(self, command: str) -> str:
        """A command with the addresses of this test."""
        return command.replace(PORT, str(self.port)).replace(MODEL_URL, f"http://127.0.0.1:{self.model_server.port}/v1")

    def check(self, command: str, outcome: Outcome) -> str:
        """Run a command to its end and compare; what it printed."""
        for tool in ("curl", "jq", "openssl"):
            if re.search(rf"\b{tool} ", command) and shutil.which(tool) is None:
                self.skipped.append(f"{tool} is not installed: {command}")
                return ""
        done = self.run_once(command, outcome)
        deadline_s = time.monotonic() + DEADLINE_S
        while outcome.after_an_edit and outcome.printed not in done.stdout and time.monotonic() < deadline_s:
            with socket.create_connection(("127.0.0.1", self.port)) as request:
                request.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                self.assertIn(b"200", request.recv(64))
            done = self.run_once(command, outcome)
        self.assertEqual(done.returncode, outcome.status, f"{command}\n{done.stdout}")
        self.assertIn(self.here(outcome.printed), done.stdout, command)
        self.assertNotIn("Traceback", done.stdout, command)
        return done.stdout

    def run_once(self, command: str, outcome: Outcome) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-ec", self.here(command)],
            check=False,
            cwd=self.home,
            env=self.environ,
            input=outcome.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S * 2,
        )

    def check_all(self, commands: dict[str, Outcome]) -> None:
        """Run commands one after the other."""
        self.skipped: list[str] = []
        for command, outcome in commands.items():
            self.check(command, outcome)
        if self.skipped:
            raise SkipTest("; ".join(self.skipped))

    def serve(self, command: str) -> subprocess.Popen[bytes]:
        """Start a server by its command and wait until it takes connections; it is ended after the test."""
        log = Path(self.mktemp())
        with log.open("wb") as file:
            server = subprocess.Popen(
                ["bash", "-ec", f"exec {self.here(command)}"],
                cwd=self.home,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(self.end, server)
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            self.assertIsNone(server.poll(), log.read_text())
            self.assertLess(time.monotonic(), deadline_s, log.read_text())
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return server
            time.sleep(0.05)

    def end(self, server: subprocess.Popen[bytes]) -> int:
        """Tell a server to end, and wait."""
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        return server.wait(DEADLINE_S)

    def test_without_a_gateway(self) -> None:
        """What needs no running gateway."""
        self.write(self.document())
        self.check_all(WITHOUT_A_GATEWAY)

    def test_with_a_gateway(self) -> None:
        """What talks to one, or changes its configuration while it runs."""
        document = self.document()
        document["models"]["providers"]["openai"] = dict(document["models"]["providers"]["p"])
        self.write(document)
        self.serve("openclaw gateway run")
        self.check_all(WITH_A_GATEWAY)

    def test_from_onboard_to_an_answer(self) -> None:
        """The quickstart with a model server of one's own."""
        self.check(ONBOARD, Outcome("openclaw gateway run"))
        self.assertNotIn("sk-none", (self.state_dir / "openclaw.json").read_text())
        self.check(f"openclaw config set gateway.port {PORT}", Outcome())
        for command, status in zip(SERVERS, (0, -signal.SIGTERM), strict=True):
            server = self.serve(command)
            self.check('openclaw agent -m "What is the capital of France?"', Outcome("w0.0"))
            self.assertEqual(self.end(server), status, command)
            self.port_again()

    def port_again(self) -> None:
        """The next server has another port, as the last one's may linger."""
        before, self.port = self.port, free_port()
        path = self.state_dir / "openclaw.json"
        path.write_text(path.read_text().replace(str(before), str(self.port)))

    def test_follow(self) -> None:
        """It shows what comes, such as an edit of the configuration, and ends with Ctrl-C."""
        self.write(self.document())
        self.serve("openclaw gateway run")
        following = self.start(*shlex.split(FOLLOW)[1:])
        following.wait_for("Log file:")
        self.check("openclaw config set agents.defaults.maxConcurrent 64", Outcome())
        following.wait_for("agents.defaults.maxConcurrent")
        following.process.send_signal(signal.SIGINT)
        self.assertIn(following.wait(), (0, 130))
