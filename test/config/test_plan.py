"""What a gateway is started with."""

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from openclaw.config.paths import resolve_paths
from openclaw.config.plan import Options, Plan, plan
from openclaw.errors import ConfigError, StartError

TOKEN = {"OPENCLAW_GATEWAY_TOKEN": "t"}


class PlanTests(TestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.config_path = self.home / ".openclaw" / "openclaw.json"
        self.config_path.parent.mkdir(parents=True)

    def planned(self, document: dict[str, Any] | None = None, environ: dict[str, str] = TOKEN, **options: Any) -> Plan:
        if document is not None:
            self.config_path.write_text(json.dumps(document))
        environ = {"HOME": str(self.home), **environ}
        return plan(resolve_paths(environ), environ, Options(**options))

    def refused(self, *arguments: Any, **options: Any) -> StartError:
        with self.assertRaises(StartError) as caught:
            self.planned(*arguments, **options)
        return caught.exception

    def test_defaults(self) -> None:
        planned = self.planned()
        listening = planned.listening
        self.assertEqual((listening.host, listening.port, listening.on_loopback_bind), ("127.0.0.1", 18789, True))
        self.assertFalse(planned.loaded.exists)
        self.assertEqual(planned.environ["OPENCLAW_GATEWAY_TOKEN"], "t")
        self.assertNotIn("'t'", repr(planned))

    def test_option_beats_environment_beats_file(self) -> None:
        document = {"gateway": {"port": 18001}}
        self.assertEqual(self.planned(document).listening.port, 18001)
        environ = {**TOKEN, "OPENCLAW_GATEWAY_PORT": "18002"}
        self.assertEqual(self.planned(document, environ).listening.port, 18002)
        self.assertEqual(self.planned(document, environ, port=18003).listening.port, 18003)
        self.assertEqual(self.planned(document, port=0).listening.port, 0)

    def test_bad_port_in_the_environment(self) -> None:
        error = self.refused({}, {**TOKEN, "OPENCLAW_GATEWAY_PORT": "x"})
        self.assertIn("OPENCLAW_GATEWAY_PORT", error.message)

    def test_bind(self) -> None:
        planned = self.planned({"gateway": {"bind": "lan"}})
        self.assertEqual((planned.listening.host, planned.listening.on_loopback_bind), ("0.0.0.0", False))
        planned = self.planned(bind="loopback")
        self.assertEqual((planned.listening.host, planned.config.gateway.bind), ("127.0.0.1", "loopback"))
        self.assertEqual(planned.loaded.config.gateway.bind, "lan")
        planned = self.planned({"gateway": {"customBindHost": "127.0.0.7"}}, bind="custom")
        self.assertEqual((planned.listening.host, planned.listening.on_loopback_bind), ("127.0.0.7", True))

    def test_bind_custom_needs_an_address(self) -> None:
        error = self.refused({}, bind="custom")
        self.assertEqual(
            (error.message, error.exit_code), ("--bind custom: gateway.customBindHost names no address", 78)
        )

    def test_endpoint(self) -> None:
        planned = self.planned({"gateway": {"bind": "lan"}}, endpoint="tcp:18005:interface=127.0.0.1")
        self.assertTrue(planned.listening.on_loopback_bind)
        self.assertEqual(planned.config.gateway.bind, "loopback")
        self.assertEqual(planned.listening.url(), "http://127.0.0.1:18005")
        self.assertEqual(self.planned({}, endpoint="tcp:18005").config.gateway.bind, "lan")
        self.assertEqual(self.planned({}, endpoint="unix:/x").config.gateway.bind, "loopback")
        self.assertEqual(self.planned({}, endpoint="systemd:domain=INET:index=0").config.gateway.bind, "lan")
        self.assertIn("--endpoint", self.refused({}, endpoint="ssl:443").message)

    def test_no_credential(self) -> None:
        error = self.refused({}, {})
        said = "no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN"
        # quickstart leaves a configuration that is there alone: where to write the token is said besides.
        self.assertEqual((error.message, error.exit_code), (f"{said}, or gateway.auth in {self.config_path}", 78))
        with self.assertRaises(ConfigError):
            self.planned({}, {**TOKEN, "OPENCLAW_GATEWAY_PASSWORD": "p"})

    def test_no_credential_needed_on_this_machine_only(self) -> None:
        document = {"gateway": {"auth": {"mode": "none"}}}
        self.planned(document, {})
        self.planned(document, {}, endpoint="unix:/x")
        self.planned(document, {}, endpoint="tcp6:1:interface=\\:\\:1")
        for options in (
            {"bind": "lan"},
            {"endpoint": "tcp:1"},
            {"endpoint": "tcp6:1"},
            {"endpoint": "tcp:1:interface=10.0.0.1"},
            {"endpoint": "systemd:domain=INET:name=http"},
        ):
            error = self.refused(document, {}, **options)
            self.assertIn('gateway.auth.mode "none" needs', error.message)
            self.assertEqual(error.exit_code, 78)

    def test_remote(self) -> None:
        error = self.refused({"gateway": {"mode": "remote", "remote": {"url": "wss://h"}}})
        self.assertIn('gateway.mode is "remote"', error.message)
        self.assertEqual(error.exit_code, 78)

    def test_file_by_option(self) -> None:
        other = self.home / "other.json"
        other.write_text('{gateway: {port: 18009, auth: {token: "t"}}}')
        relative = Path(os.path.relpath(other))
        planned = self.planned(None, {}, config_path=relative)
        self.assertEqual(planned.listening.port, 18009)
        self.assertEqual(planned.loaded.path, relative.absolute())
        error = self.refused(None, config_path=self.home / "nope.json")
        self.assertEqual(
            (error.message, error.exit_code), (f"--config: there is no file {self.home / 'nope.json'}", 78)
        )

    def test_dotenv_of_the_state_folder(self) -> None:
        (self.config_path.parent / ".env").write_text("OPENCLAW_GATEWAY_TOKEN=from-dotenv\n")
        planned = self.planned({}, {})
        self.assertEqual(planned.loaded.environ["OPENCLAW_GATEWAY_TOKEN"], "from-dotenv")
        self.assertNotIn("OPENCLAW_GATEWAY_TOKEN", planned.environ)
