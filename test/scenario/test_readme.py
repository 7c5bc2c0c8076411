"""
Every command of the README, run as it stands there.

It installs from the package index and takes minutes, so it runs only where C{OPENCLAW_TEST_README} is set (C{.ci/run}
sets it, in a fresh clone and with an empty HOME); that the README has no command which this module does not know is
checked always.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

import openclaw
from openclaw._version import __version__

ROOT = Path(openclaw.__file__).parent.parent
README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TABLE = [
    command for row in re.findall(r"^\| (`.+?) \|", README, re.MULTILINE) for command in re.findall(r"`([^`]+)`", row)
]

READY_TIMEOUT_S = 240

QUICK_COMMANDS = {
    "openclaw gateway auth-token --show": "",
    "openclaw models list": "local/smollm2-135m",
    "openclaw models status": "local/smollm2-135m",
    "openclaw models pull NAME": "is there",
    "openclaw models set REF": "",
    "openclaw config get": "__OPENCLAW_REDACTED__",
    "openclaw config set PATH VALUE": "gateway.shutdownDrainMs",
    "openclaw config unset PATH": "gateway.shutdownDrainMs",
    "openclaw config patch --stdin": "",
    "openclaw config validate": "valid",
    "openclaw config file": "openclaw.json",
    "openclaw config schema": "shutdownDrainMs",
    "openclaw agents add NAME": "helper",
    "openclaw agents list": "helper",
    "openclaw agents delete NAME": "helper",
    "openclaw doctor": "",
    "openclaw backup create": "backup.tar.gz",
    "openclaw backup verify FILE": "",
    "openclaw backup restore FILE": "",
    "openclaw gateway install": "ExecStart",
    "openclaw onboard": "",
    "openclaw completion bash": "openclaw",
    "openclaw version": __version__,
}
"""Commands that end by themselves, each with a part of what it prints; in their order."""

AS_RUN = {
    "openclaw models pull NAME": "openclaw models pull smollm2-135m",
    "openclaw models set REF": "openclaw models set local/smollm2-135m",
    "openclaw config set PATH VALUE": "openclaw config set gateway.shutdownDrainMs 24000",
    "openclaw config unset PATH": "openclaw config unset gateway.shutdownDrainMs",
    "openclaw config patch --stdin": "echo '{gateway: {shutdownDrainMs: 23000}}' | openclaw config patch --stdin",
    "openclaw agents add NAME": "openclaw agents add helper --non-interactive",
    "openclaw agents delete NAME": "openclaw agents delete helper --force",
    "openclaw backup create": "openclaw backup create backup.tar.gz",
    "openclaw backup verify FILE": "openclaw backup verify backup.tar.gz",
    "openclaw backup restore FILE": "OPENCLAW_STATE_DIR=$PWD/restored openclaw backup restore backup.tar.gz",
    "openclaw gateway install": "openclaw gateway install --dry-run",
    "openclaw onboard": "openclaw onboard --non-interactive --accept-risk --auth-choice local --skip-health",
    "openclaw gateway call METHOD": "openclaw gateway call health",
    "openclaw agent -m TEXT": "openclaw agent -m Hello",
    "openclaw chat": "echo Hello | openclaw chat",
}
"""What is run where the README's command has a placeholder, or would wait for somebody."""

SERVERS = ("openclaw quickstart", "openclaw gateway run", "twistd -n openclaw")
"""Commands that run until they are told to end."""

WITH_A_SERVER = {
    "openclaw health": "ready",
    "openclaw status": "18789",
    "openclaw gateway status": "18789",
    "openclaw gateway probe": "18789",
    "openclaw gateway health": "",
    "openclaw gateway call METHOD": '"ok": true',
    "openclaw agent -m TEXT": "",
    "openclaw chat": "",
    "openclaw sessions": "agent:main:main",
    "openclaw logs": "",
}
"""Commands that ask a running gateway, each with a part of what it prints."""
BENCHMARK = "python -m benchmarks"


class ReadmeIsCoveredTests(TestCase):
    """The README holds nothing that is not run."""

    def test_blocks(self) -> None:
        """Its code blocks are the four that are run below and by C{.ci/run}."""
        if not README:
            raise SkipTest("not a checkout")
        self.assertEqual([language for language, _ in BLOCKS], ["sh", "sh", "sh", "python"])

    def test_table(self) -> None:
        """Its table of commands names only commands that are run below."""
        if not README:
            raise SkipTest("not a checkout")
        known = {*QUICK_COMMANDS, *SERVERS, *WITH_A_SERVER, BENCHMARK}
        self.assertEqual(set(TABLE), known)


class ReadmeTests(TestCase):
    """Its commands, one after the other as a new user would give them."""

    timeout = 600

    def setUp(self) -> None:
        if not os.environ.get("OPENCLAW_TEST_README"):
            raise SkipTest("OPENCLAW_TEST_README is not set: this installs from the package index and takes minutes")
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENCLAW_", "PYTHON"))
        }
        # As after `. .venv/bin/activate`, which is how a reader gives the commands of the table.
        self.environ["PATH"] = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", 18789)), 0, "something listens at 18789 already")

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a server in a group of its own; it is ended after the test."""
        log = Path(self.mktemp())
        server = subprocess.Popen(
            ["bash", "-ec", command],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end, server)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            self.assertIsNone(server.poll(), log.read_text())
            self.assertLess(time.monotonic(), deadline, log.read_text())
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", 18789)) == 0:
                    return server
            time.sleep(0.1)

    def end(self, server: subprocess.Popen[str]) -> None:
        """End a server and wait for it."""
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)

    def output(self, command: str) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            ["bash", "-ec", command],
            check=False,
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}")
        return done.stdout

    def test_all(self) -> None:
        """From the first line to the last."""
        server = self.start(BLOCKS[0][1])
        self.assertIn("data: [DONE]", self.output(BLOCKS[2][1]))
        snippet = Path(self.mktemp())
        snippet.write_text(BLOCKS[3][1])
        self.assertTrue(self.output(f".venv/bin/python {shlex.quote(str(snippet.absolute()))}").strip())
        for command, printed in (WITH_A_SERVER | QUICK_COMMANDS).items():
            self.assertIn(printed, self.output(AS_RUN.get(command, command)), command)
        self.end(server)
        for command in SERVERS:
            self.end(self.start(f"exec {command}"))
        self.assertIn("ours", self.output(f"{BENCHMARK} --quick --only ours,help"))
