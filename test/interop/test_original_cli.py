"""
The original's own command line and client library, unmodified, against a gateway of ours.

They come from its package registry, which L{test.interop.original} says more of; where they are not installed these
tests are skipped and say so.
"""

from __future__ import annotations

import re
import subprocess

from twisted.trial.unittest import SkipTest

from test.interop.original import Original, find_original
from test.scenario.support import GatewayTestCase

TOKEN = "interop-token-0123456789"

RUN_DEADLINE_S = 420.0
"""How long a script may take, in seconds: the original's commands take 1 to 12 s each."""

CLI_STEPS = 17

CLIENT_STEPS = (
    "connect: token only (gateway-client/backend)",
    "connect: wrong token -> GatewayClientRequestError AUTH_TOKEN_MISMATCH",
    "health",
    "status",
    "system-presence",
    "models.list",
    "agents.list",
    "sessions.list",
    "logs.tail",
    "config.get (redacted)",
    "error: unknown method",
    "error: invalid params name the method",
    "error: missing scope (read-only cli asks agent)",
    "agent: accepted ack then final on the same request id",
    "agent events: lifecycle start .. assistant* .. lifecycle end, per-run seq increasing",
    "chat events mirror an agent run: delta* then exactly one final",
    "agent: same idempotencyKey replays the terminal result, no second run",
    "agent.wait: finished run",
    "agent.wait: unknown run times out with status timeout",
    "chat.history: limit keeps the newest rows",
    "chat.abort with nothing running",
    "no sequence gap on the main connection",
)
"""The steps of C{20-gateway-client.mjs} whose methods are there."""


class OriginalTests(GatewayTestCase):
    """A gateway as a process, and a script of the original's clients."""

    timeout = int(RUN_DEADLINE_S) + 60

    def setUp(self) -> None:
        found = find_original()
        if isinstance(found, str):
            raise SkipTest(found)
        self.original: Original = found
        super().setUp()
        self.write(self.document(TOKEN))
        self.gateway()

    def run_script(self, name: str, **environ: str) -> tuple[int, str]:
        """Run a script to its end; give its status and what it printed."""
        done = subprocess.run(
            (str(self.original.node), str(self.original.scripts / name)),
            check=False,
            env={**self.original.environ(f"ws://127.0.0.1:{self.port}", TOKEN), "HOME": str(self.home), **environ},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_DEADLINE_S,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def assert_all_passed(self, status: int, told: str, count: int) -> None:
        """So many steps passed, and none failed."""
        self.assertEqual(re.findall(r"^FAIL .*", told, re.MULTILINE), [], told)
        self.assertRegex(told, rf"(?m)^RESULT pass={count} fail=0 ")
        self.assertEqual(status, 0, told)

    def test_command_line(self) -> None:
        """Every step of the original's command line."""
        self.assert_all_passed(*self.run_script("30-cli.mjs"), CLI_STEPS)

    def test_client_library(self) -> None:
        """The steps of the original's client library that need no more than what there is."""
        chosen = "|".join(f"^{re.escape(step)}$" for step in CLIENT_STEPS)
        status, told = self.run_script("20-gateway-client.mjs", ONLY=chosen.replace("/", r"\/"))
        self.assert_all_passed(status, told, len(CLIENT_STEPS))
