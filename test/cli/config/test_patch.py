"""C{openclaw config patch}."""

import io
import sys
from unittest import mock

from test.cli.config.editing_support import EditingTestCase

TEXT = """\
{
  // of mine
  gateway: { mode: "local", port: 18789, auth: { token: "0123456789abcdefgh" } },
  agents: { entries: { a: {}, b: {} }, defaults: { systemAgent: { agentId: "a" } } },
}
"""


class PatchTests(EditingTestCase):
    def patch(self, text: str, *arguments: str) -> int:
        stdin = mock.Mock(buffer=io.BytesIO(text.encode("utf-8", "surrogateescape")))
        with mock.patch.object(sys, "stdin", stdin):
            return self.run_command("config", "patch", "--stdin", *arguments)

    def test_stdin(self) -> None:
        self.assertEqual(self.patch("{gateway: {port: 5, mode: 'local'}, agents: {entries: {b: null}}}"), 0)
        self.assertEqual(self.path.read_text(), TEXT.replace("18789", "5").replace(", b: {}", ""))
        self.assertIn("merged gateway, agents in", self.out)
        self.assertEqual(self.patch("{}"), 0)
        self.assertEqual(self.patch("{gateway: {port: 6}}", "--json"), 0)
        self.assertEqual(self.json_out()["changed"], ["gateway.port"])

    def test_file(self) -> None:
        file = self.home / "patch.json5"
        file.write_text("{gateway: {port: 5}, // c\n}")
        self.assertEqual(self.run_command("config", "patch", "--file", str(file), "--dry-run"), 0)
        self.assertEqual(self.path.read_text(), TEXT)
        self.assertEqual(self.run_command("config", "patch", "--file", str(file)), 0)
        self.assertIn("port: 5", self.path.read_text())

    def test_replace_path(self) -> None:
        self.patch("{gateway: {trustedProxies: ['10.0.0.1', '10.0.0.2']}}")
        text = "{gateway: {trustedProxies: ['10.0.0.2']}}"
        self.assertEqual(self.patch(text), 1)
        self.assertIn("add --replace-path gateway.trustedProxies", self.err)
        self.assertEqual(self.patch(text, "--replace-path", "gateway.trustedProxies"), 0)
        self.run_command("config", "get", "gateway.trustedProxies", "--json")
        self.assertEqual(self.json_out(), ["10.0.0.2"])

    def test_refused(self) -> None:
        for text, reason in (
            ("[1]", "must be an object"),
            ("{a", "standard input: line 1"),
            ("\udcff", "not UTF-8"),
            ("{gateway: {port: 0}}", "gateway.port: must be"),
        ):
            self.assertEqual(self.patch(text), 1)
            self.assertIn(reason, self.err)
        with mock.patch("openclaw.cli.config.patch.MAX_PATCH_BYTES", 1):
            self.assertEqual(self.patch("{ }"), 1)
            self.assertIn("larger than 1 bytes", self.err)
        self.assert_refused("cannot be read", "config", "patch", "--file", str(self.home / "no"))
        self.assert_refused("give --file or --stdin", "config", "patch", status=2)
        self.assertEqual(self.path.read_text(), TEXT)
