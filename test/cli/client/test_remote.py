"""Which gateway a command talks to, and which credential goes there."""

import os
from typing import Any

import click
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.client.failures import not_reached
from openclaw.cli.client.remote import Remote, RemoteOptions, find_remote, is_near, parse_url
from openclaw.cli.output import State
from openclaw.config.lock import StateLock
from openclaw.errors import ConfigError, OpenClawError
from test.cli.support import CommandTestCase


class RunningTests(CommandTestCase):
    """The gateway of the state folder, wherever it listens."""

    def setUp(self) -> None:
        super().setUp()
        self.write({"gateway": {"auth": {"token": "t"}}})
        self.lock = StateLock(self.state_dir / "gateway.lock")
        self.lock.acquire()
        self.addCleanup(self.lock.release)

    def find(self, **options: str) -> Remote:
        return find_remote(State(), RemoteOptions(**options))

    def test_elsewhere(self) -> None:
        for url, found in (
            ("http://127.0.0.1:19001", "ws://127.0.0.1:19001"),
            ("http://[::1]:19002", "ws://[::1]:19002"),
        ):
            self.lock.tell(url)
            remote = self.find()
            self.assertEqual((remote.url, remote.secret.value, remote.pid), (found, "t", os.getpid()))
            self.assertEqual(remote.kind, "localLoopback")
            self.assertEqual(self.find(url=url).secret.value, "t")
        self.assertEqual(self.find(url="http://127.0.0.1:19009").secret.value, None)

    def test_not_yet(self) -> None:
        remote = self.find()
        self.assertEqual((remote.url, remote.pid), ("ws://127.0.0.1:18789", os.getpid()))

    def test_no_longer(self) -> None:
        """What a gateway that is gone left in the file is nobody's address."""
        self.lock.tell("http://127.0.0.1:19001")
        self.lock.release()
        remote = self.find()
        self.assertEqual((remote.url, remote.pid), ("ws://127.0.0.1:18789", None))

    def test_a_unix_socket(self) -> None:
        self.lock.tell("unix:/run/openclaw")
        with self.assertRaises(OpenClawError) as caught:
            self.find()
        self.assertIn("listens at unix:/run/openclaw, where commands do not reach it", caught.exception.message)
        self.assertEqual(self.find(url="http://127.0.0.1:18789").secret.value, "t")
        self.assertEqual(self.run_command("gateway", "status"), 0)
        self.assertIn(f"process {os.getpid()} runs", self.out)
        self.assertIn("where commands do not reach it", self.err)

    def test_a_remote_one(self) -> None:
        """Who means a gateway on another machine does not get this one's."""
        self.lock.tell("http://127.0.0.1:19001")
        self.write({"gateway": {"mode": "remote", "remote": {"url": "ws://10.0.0.1:5", "token": "r"}}})
        self.assertEqual((self.find().url, self.find().pid), ("ws://10.0.0.1:5", None))

    def test_no_advice_that_is_refused(self) -> None:
        self.lock.tell("http://127.0.0.1:19001")
        told = not_reached(self.find(), ConnectionRefusedError(), 1.0).message
        self.assertIn(f"process {os.getpid()} has its state folder", told)
        self.assertNotIn("gateway run", told)
        self.lock.release()
        self.assertIn("gateway run", not_reached(self.find(), ConnectionRefusedError(), 1.0).message)


class FindTests(CommandTestCase):
    def find(self, **options: str) -> Remote:
        return find_remote(State(), RemoteOptions(**options))

    def told(self, **options: str) -> tuple[Any, ...]:
        remote = self.find(**options)
        return remote.url, remote.secret.kind, remote.secret.value, remote.secret.source, remote.kind

    def test_configured(self) -> None:
        path = self.write({"gateway": {"port": 18999, "bind": "lan", "auth": {"mode": "password", "password": "p"}}})
        self.assertEqual(
            self.told(), ("ws://127.0.0.1:18999", "password", "p", f"the configuration ({path})", "localLoopback")
        )

    def test_without_configuration(self) -> None:
        url, kind, secret, source, _ = self.told()
        self.assertEqual((url, kind, secret), ("ws://127.0.0.1:18789", "token", None))
        self.assertIn("no credential: run openclaw quickstart", source)

    def test_mode_none(self) -> None:
        self.write({"gateway": {"auth": {"mode": "none"}}})
        self.assertEqual(self.told()[2:4], (None, 'gateway.auth.mode is "none"'))

    def test_custom_bind(self) -> None:
        for host, url in (("::1", "ws://[::1]:18789"), ("::", "ws://[::1]:18789"), ("10.1.2.3", "ws://10.1.2.3:18789")):
            self.write({"gateway": {"bind": "custom", "customBindHost": host, "auth": {"token": "t"}}})
            self.assertEqual(self.find().url, url)

    def test_unusable_configuration(self) -> None:
        self.write({"nope": 1})
        self.assertRaises(ConfigError, self.find)
        self.assertEqual(self.told(url="ws://h:1", token="t")[:3], ("ws://h:1", "token", "t"))
        self.assertEqual(self.told(url="ws://h:1")[2], None)

    def test_options_win(self) -> None:
        self.write({"gateway": {"auth": {"token": "t"}}})
        self.assertEqual(self.told(token=" x ")[1:4], ("token", "x", "--token"))
        self.assertEqual(self.told(password="y")[1:4], ("password", "y", "--password"))
        with self.assertRaises(click.UsageError):
            self.find(token="x", password="y")

    def test_the_configured_secret_stays_here(self) -> None:
        self.write({"gateway": {"auth": {"token": "t"}}})
        self.assertEqual(self.told(url="ws://gateway.example.org:1")[2:4], (None, "none was given with --url"))
        self.assertEqual(self.told(url="ws://127.0.0.1:18790")[2], None)
        self.assertEqual(self.told(url="wss://127.0.0.1:18789")[2], None)
        for same in ("ws://127.0.0.1:18789", "http://localhost:18789/", "ws://[::1]:18789"):
            self.assertEqual(self.told(url=same)[2], "t")

    def test_environment(self) -> None:
        os.environ["OPENCLAW_GATEWAY_URL"] = "https://gw.example.org"
        os.environ["OPENCLAW_GATEWAY_PASSWORD"] = "pw"
        self.assertEqual(
            self.told(), ("wss://gw.example.org:443", "password", "pw", "OPENCLAW_GATEWAY_PASSWORD", "explicit")
        )
        os.environ["OPENCLAW_GATEWAY_TOKEN"] = "tk"
        self.assertEqual(self.told(url="ws://h:2")[:4], ("ws://h:2", "token", "tk", "OPENCLAW_GATEWAY_TOKEN"))
        self.assertEqual(self.find().source, "OPENCLAW_GATEWAY_URL")

    def remote_config(self, **section: Any) -> None:
        self.write({"gateway": {"mode": "remote", "remote": section}})

    def test_remote_mode(self) -> None:
        self.remote_config(url="wss://far.example.org/gw/", token="rt", transport="direct")
        self.assertEqual(
            self.told(), ("wss://far.example.org:443/gw", "token", "rt", "gateway.remote.token", "configRemote")
        )
        self.remote_config(url="wss://far.example.org", password={"source": "env", "id": "PW"})
        os.environ["PW"] = "secret"
        self.assertEqual(self.told()[1:4], ("password", "secret", "gateway.remote.password"))
        self.remote_config(url="wss://far.example.org", token="${TK}")
        os.environ["TK"] = "from-env"
        self.assertEqual(self.told()[2], "from-env")
        self.remote_config(url="wss://far.example.org")
        self.assertEqual(self.told()[2:4], (None, "none is configured"))
        os.environ["OPENCLAW_GATEWAY_TOKEN"] = "tk"
        self.assertEqual(self.told()[2:4], ("tk", "OPENCLAW_GATEWAY_TOKEN"))

    def test_remote_mode_without_what_it_needs(self) -> None:
        for section, problem in (
            ({}, "gateway.remote.url: required"),
            ({"url": 5}, "gateway.remote.url: expected a string"),
            ({"url": "wss://h", "token": "${NOPE}"}, "gateway.remote.token: environment variable not set: NOPE"),
        ):
            self.remote_config(**section)
            with self.assertRaises(ConfigError) as raised:
                self.find()
            self.assertIn(problem, str(raised.exception.problems))
        self.write({"gateway": {"mode": "remote"}})
        with self.assertRaises(ConfigError) as raised:
            self.find()
        self.assertIn("gateway.remote.url: required", raised.exception.problems[0])
        self.remote_config(url="nonsense")
        with self.assertRaises(OpenClawError) as wrong:
            self.find()
        self.assertIn("gateway.remote.url: expected ws://host:port", wrong.exception.message)

    def test_no_secret_in_the_clear_over_the_open_network(self) -> None:
        with self.assertRaises(OpenClawError) as raised:
            self.find(url="ws://gateway.example.org:1", token="t")
        self.assertIn("use wss://, or set OPENCLAW_ALLOW_INSECURE_WS=1", raised.exception.message)
        self.assertNotIn("'t'", raised.exception.message)
        self.assertEqual(self.find(url="ws://gateway.example.org:1").secret.value, None)
        self.assertEqual(self.find(url="wss://gateway.example.org:1", token="t").secret.value, "t")
        os.environ["OPENCLAW_ALLOW_INSECURE_WS"] = "1"
        self.assertEqual(self.find(url="ws://gateway.example.org:1", token="t").secret.value, "t")

    def test_secrets_are_not_shown(self) -> None:
        remote = self.find(url="ws://h:1", token="hidden")
        self.assertNotIn("hidden", repr(remote))
        self.assertNotIn("hidden", repr(RemoteOptions(token="hidden", password="hidden")))


class UrlTests(SynchronousTestCase):
    def test_spellings(self) -> None:
        for text, url in (
            ("ws://h:1", "ws://h:1"),
            ("http://H:1/", "ws://h:1"),
            ("https://h", "wss://h:443"),
            (" ws://h ", "ws://h:80"),
            ("wss://[::1]:5/base/", "wss://[::1]:5/base"),
            ("ws://h:1/?token=x#y", "ws://h:1"),
        ):
            self.assertEqual(parse_url(text, "--url").text, url)

    def test_none(self) -> None:
        for text in ("", "h:1", "ftp://h", "ws://", "ws://h:99999", "ws://h:x", "ws://[::1", "ws://a b", "ws://h/\x1b"):
            with self.assertRaises(OpenClawError) as raised:
                parse_url(text, "--url")
            self.assertEqual(raised.exception.message, "--url: expected ws://host:port or wss://host:port")
        with self.assertRaises(OpenClawError) as raised:
            parse_url("ws://user:pw@h", "--url")
        self.assertIn("use --token or --password", raised.exception.message)
        self.assertNotIn("pw@", raised.exception.message)

    def test_near(self) -> None:
        near = "127.0.0.1 ::1 localhost 10.0.0.1 192.168.1.5 fe80::1%eth0 fd00::1 100.64.1.1 gw nas.local x.ts.net"
        for host in near.split():
            self.assertTrue(is_near(host), host)
        for host in ("8.8.8.8", "2001:4860::8888", "example.org", "local.example.org"):
            self.assertFalse(is_near(host), host)
