"""C{openclaw doctor}: what is wrong in the configuration."""

import json
import os
from unittest import mock

from openclaw.installation import install_command
from test.cli.doctor.doctor_support import TOKEN, DoctorTestCase


class ConfigurationTests(DoctorTestCase):
    def test_variables(self) -> None:
        self.with_settings(models__providers__p__apiKey="${NO_KEY}")
        row = self.assert_found("variables", "warning", "environment variable not set: NO_KEY")
        self.assertEqual(row["path"], "models.providers.p.apiKey")

    def test_ways(self) -> None:
        """A proxy that cannot be used, and authorities that cannot be read."""
        with mock.patch.dict(os.environ, {"https_proxy": "socks5://me:s3cret@p"}):
            row = self.assert_found("ways", "error", "https_proxy: socks5 proxies are not served", "--only", "ways")
            self.assertNotIn("s3cret", self.out)
            self.assertEqual(row["path"], "https_proxy")
        self.with_settings(models__providers__p__baseUrl="https://model.example/v1")
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": ""}):
            self.assert_found(
                "ways", "error", "no authority's certificate can be read from SSL_CERT_FILE", "--only", "ways"
            )

    def test_credential(self) -> None:
        del os.environ["TOK"]
        found = self.findings("--only", "gateway-auth")
        self.assertIn("no credential", found[0][2])
        for weak in ("sh0rt", "password-password", "aaaaaaaaaaaaaaaaaaaaa", "changeme-changeme-1"):
            os.environ["TOK"] = weak
            row = self.assert_found("gateway-auth", "warning", "easy to guess")
            self.assertNotIn(weak, self.out)
            self.assertIn("openssl rand", row["fixHint"])
        self.with_settings(gateway__auth__token="sh0rt")
        found = self.findings("--only", "gateway-auth")
        self.assertIn("easy to guess", found[0][2])
        self.assertIn("openclaw config set gateway.auth.token ", self.json_out()["findings"][0]["fixHint"])

    def test_credential_fixes_work(self) -> None:
        """What the finding says, done, is the end of the finding."""
        del os.environ["TOK"]
        for auth, environ, commands in (
            ({}, {}, 1),
            ({"mode": "token", "password": "${NO_PASSWORD}"}, {}, 1),
            ({"mode": "password"}, {}, 2),
            ({"mode": "none"}, {}, 2),
            ({"token": TOKEN, "password": TOKEN}, {}, 1),
            ({}, {"OPENCLAW_GATEWAY_TOKEN": TOKEN, "OPENCLAW_GATEWAY_PASSWORD": TOKEN}, 1),
            ({"token": "x\ny"}, {}, 1),
            ({"token": "secret"}, {}, 1),
            ({"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-user"}}, {}, 2),
            ({"mode": "password", "password": "secret"}, {}, 1),
            ({"mode": "password", "password": "x\ny"}, {}, 1),
        ):
            self.with_settings(gateway__auth=auth)
            with mock.patch.dict(os.environ, environ):
                self.assertTrue(self.findings("--only", "gateway-auth"), auth)
                [row] = self.json_out()["findings"]
                hint = row["fixHint"].replace('"$(openssl rand -base64 32)"', TOKEN)
                done = hint.split(", then ")
                self.assertEqual(len(done), commands, hint)
                for command in done:
                    self.assertEqual(self.run_command(*command.split()[1:]), 0, self.err)
                self.assertEqual(self.findings("--only", "gateway-auth"), [], (auth, hint))

    def test_credential_of_the_environment(self) -> None:
        del os.environ["TOK"]
        self.findings("--only", "gateway-auth")
        hint = self.json_out()["findings"][0]["fixHint"]
        self.assertEqual(hint, f"set TOK in the environment of the gateway, or in {self.state_dir / '.env'}")
        os.environ["TOK"] = "x\ny"
        self.assertIn("holds a line break", self.findings("--only", "gateway-auth")[0][2])
        self.assertIn("openssl rand", self.json_out()["findings"][0]["fixHint"])

    def test_gateway_elsewhere(self) -> None:
        """What this machine would need for a gateway of its own is nobody's trouble."""
        self.bind_error = OSError(98, "Address already in use")
        self.write({"gateway": {"mode": "remote", "remote": {"url": "ws://127.0.0.1:1", "token": "${TOK}"}}})
        self.assertEqual(self.run_command("doctor", "--lint"), 0, self.out)
        self.assertEqual(self.out, "10 checks, 8 are for a gateway of this machine: nothing found\n")
        self.assertEqual(self.run_command("doctor", "--generate-gateway-token"), 0)
        self.assertNotIn("auth", json.loads(self.path.read_text())["gateway"])

    def test_fixes_are_for_the_profile(self) -> None:
        self.state_dir.rename(self.home / ".openclaw-work-it")
        self.assertEqual(self.run_command("--profile", "work-it", "config", "set", "gateway.bind", "lan"), 0, self.err)
        self.assertEqual(self.run_command("--profile", "work-it", "doctor", "--json"), 0)
        [row] = self.json_out()["findings"]
        self.assertTrue(row["fixHint"].endswith("openclaw --profile work-it config set gateway.bind loopback"))

    def test_no_auth(self) -> None:
        self.with_settings(gateway__auth={"mode": "none"})
        self.assert_found("gateway-auth", "warning", "every program of every user")

    def test_bind(self) -> None:
        self.with_settings(gateway__bind="lan")
        self.assert_found("gateway-bind", "warning", "other machines can reach")
        self.with_settings(gateway__bind="tailnet")
        self.assertIn("error", {level for _, level, _ in self.findings("--only", "gateway-bind")})
        self.with_settings(gateway__http={})
        self.assert_found("gateway-bind", "info", "the endpoint is off")

    def test_plaintext(self) -> None:
        self.with_settings(gateway__auth__token=TOKEN)
        self.assert_found("security", "info", "gateway.auth.token")
        self.with_settings(models__providers__p__apiKey="s3cret")
        self.assert_found("security", "warning", "models.providers.p.apiKey")
        self.assertNotIn("s3cret", self.out)

    def test_clear_key(self) -> None:
        provider = {"baseUrl": "http://models.example/v1", "apiKey": "${TOK}"}
        self.with_settings(models__providers__p=provider)
        self.assert_found("providers", "warning", "without encryption")
        self.with_settings(models__providers__p={**provider, "baseUrl": "https://models.example/v1"})
        self.assertEqual(self.findings(), [])

    def test_key_in_a_url(self) -> None:
        for step in ("sk-abcdefghijklmnop", "0123456789abcdef0123456789abcdef", "aB3dE5fG7hJ9kL1mN3pQ5_x-y"):
            self.with_settings(models__providers__p={"baseUrl": f"https://models.example/{step}/v1"})
            row = self.assert_found("providers", "warning", "the URL of p has a part that looks like a key")
            self.assertEqual(row["path"], "models.providers.p.baseUrl")
            self.assertNotIn(step, self.out)
        for step in ("openai/deployments/gpt-4o-mini-2024-07-18", "models/meta-llama/Llama-3.1-8B-Instruct", "v1beta"):
            self.with_settings(models__providers__p={"baseUrl": f"https://models.example/{step}"})
            self.assertEqual(self.findings(), [])

    def test_foreign_models(self) -> None:
        self.with_settings(agents__entries={"a": {"model": "x/y"}})
        row = self.assert_found("models", "warning", "no provider is configured for x/y")
        self.assertEqual(row["fixHint"], "openclaw models set PROVIDER/MODEL --agent a")
        self.with_settings(agents__defaults__model="x/y")
        self.assertEqual(self.assert_found("models", "warning", "x/y")["fixHint"], "openclaw models set PROVIDER/MODEL")

    def test_embedded_model(self) -> None:
        self.with_settings(agents__defaults__model="local/smollm2-135m")
        with mock.patch("openclaw.cli.doctor.configuration.library_installed", return_value=True):
            row = self.assert_found("embedded-model", "error", "weights are missing")
        self.assertEqual(row["fixHint"], "openclaw models pull smollm2-135m")
        self.with_settings(agents__defaults__model="local/smollm2-135m", models__local__path="/nowhere.gguf")
        with mock.patch("openclaw.cli.doctor.configuration.library_installed", return_value=False):
            found = self.findings()
        self.assertEqual([check for check, _, _ in found], ["embedded-model"] * 2)
        self.assertIn(install_command("local"), self.json_out()["findings"][0]["fixHint"])
