"""C{openclaw gateway auth-token}."""

import os

from test.cli.gateway.test_run import NO_CREDENTIAL
from test.cli.support import CommandTestCase


class AuthTokenTests(CommandTestCase):
    def test_token(self) -> None:
        self.write({"gateway": {"auth": {"token": " t-x "}}})
        self.assertEqual(self.run_command("gateway", "auth-token", "--show"), 0)
        self.assertEqual(self.out, "t-x\n")
        self.assertEqual(self.run_command("gateway", "auth-token"), 0)
        self.assertEqual(self.out, "mode token, secret hidden; print it with: openclaw gateway auth-token --show\n")

    def test_json(self) -> None:
        self.write({"gateway": {"auth": {"mode": "password", "password": "p-x"}}})
        self.assertEqual(self.run_command("gateway", "auth-token", "--json"), 0)
        self.assertEqual(self.json_out(), {"ok": True, "mode": "password"})
        self.assertEqual(self.run_command("gateway", "auth-token", "--json", "--show"), 0)
        self.assertEqual(self.json_out(), {"ok": True, "mode": "password", "password": "p-x"})

    def test_from_the_environment(self) -> None:
        os.environ["OPENCLAW_GATEWAY_PASSWORD"] = "p-x"
        self.run_command("gateway", "auth-token", "--show")
        self.assertEqual(self.out, "p-x\n")

    def test_none_and_nothing(self) -> None:
        self.assertEqual(self.run_command("gateway", "auth-token", "--show"), 78)
        self.assertEqual((self.out, self.err), ("", NO_CREDENTIAL))
        self.write({"gateway": {"auth": {"mode": "none"}}})
        self.assertEqual(self.run_command("gateway", "auth-token", "--show"), 1)
        self.assertEqual((self.out, self.err), ("", 'openclaw: gateway.auth.mode is "none": there is no secret\n'))
