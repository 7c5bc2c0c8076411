"""Mode, secret, address and port."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.auth_mode import bind_host, effective_auth, is_loopback_host, listen_port
from openclaw.config.load import parse_config
from openclaw.config.schema import Config
from openclaw.errors import ConfigError, StartError

from .documents import PROXY

TOKEN = "OPENCLAW_GATEWAY_TOKEN"
PASSWORD = "OPENCLAW_GATEWAY_PASSWORD"
NONE = "no credential: run openclaw quickstart, or set "


def config(environ: dict[str, str] | None = None, **gateway: Any) -> Config:
    """A configuration with C{gateway}."""
    return parse_config({"gateway": gateway}, environ or {})[0]


class EffectiveAuthTests(SynchronousTestCase):
    """L{effective_auth}."""

    def check(self, auth: dict[str, Any], environ: dict[str, str], expected: tuple[str, str]) -> None:
        """Compare mode and secret."""
        found = effective_auth(config(environ, auth=auth), environ)
        assert found.secret is not None
        self.assertEqual(expected, (found.mode, found.secret.reveal()))

    def refused(self, auth: dict[str, Any], environ: dict[str, str], **gateway: Any) -> str:
        """The message with which the start is refused, for good."""
        error = self.assertRaises(StartError, effective_auth, config(environ, auth=auth, **gateway), environ)
        self.assertEqual(78, error.exit_code)
        return error.message

    def test_sources(self) -> None:
        """The configuration beats the environment; without a mode the secret tells it."""
        both = {TOKEN: "et", PASSWORD: "ep"}
        for auth, environ, expected in [
            ({"mode": "token", "token": "t"}, both, ("token", "t")),
            ({"mode": "token"}, both, ("token", "et")),
            ({"mode": "password"}, both, ("password", "ep")),
            ({"mode": "password", "password": "p", "token": "t"}, {}, ("password", "p")),
            ({"token": "t"}, both, ("token", "t")),
            ({"password": "p"}, both, ("password", "p")),
            ({}, {TOKEN: "et"}, ("token", "et")),
            ({}, {PASSWORD: "ep"}, ("password", "ep")),
            ({"token": " t\n"}, {}, ("token", "t")),
            ({"token": " "}, {TOKEN: " et "}, ("token", "et")),
            ({"token": "", "password": "p"}, {}, ("password", "p")),
            ({"token": "${X}"}, {"X": "x"}, ("token", "x")),
            ({"token": "${X}"}, {TOKEN: "et"}, ("token", "et")),
            ({"token": {"source": "env", "id": "X"}}, {"X": "x", TOKEN: "et"}, ("token", "x")),
            ({"token": "$${X}"}, {"X": "x"}, ("token", "${X}")),
        ]:
            self.check(auth, environ, expected)

    def test_no_credential(self) -> None:
        """Nothing usable: refused, on loopback too, with what to do."""
        self.assertEqual(NONE + TOKEN, self.refused({}, {}))
        self.assertEqual(NONE + TOKEN, self.refused({}, {TOKEN: " "}))
        self.assertEqual(NONE + TOKEN, self.refused({"mode": "token", "token": " \t"}, {PASSWORD: "p"}))
        self.assertEqual(NONE + PASSWORD, self.refused({"mode": "password", "token": "t"}, {TOKEN: "t"}))

    def test_unresolved(self) -> None:
        """A secret that lacks its variable is none, and that is said; a reference falls back on nothing."""
        hint = "; gateway.auth.token needs X, which is not set"
        self.assertEqual(NONE + TOKEN + hint, self.refused({"token": "${X}"}, {}))
        self.assertEqual(NONE + TOKEN + hint, self.refused({"token": {"source": "env", "id": "X"}}, {TOKEN: "t"}))
        # it tells the mode all the same: a password of the environment does not take its place
        self.assertEqual(NONE + TOKEN + hint, self.refused({"token": "${X}"}, {PASSWORD: "p"}))

    def test_unsendable(self) -> None:
        """A secret that no header can carry is refused and named, not shown; blanks around it do not count."""
        why = " holds a line break or another control character, so that no client can send it; "
        for odd in ("a\nb", "a\r\nb", "a\tb", "a\0b", "a\x7fb", "a\x85b"):
            for auth, environ, name in (
                ({"token": odd}, {}, "gateway.auth.token"),
                ({"mode": "password", "password": odd}, {TOKEN: "t"}, "gateway.auth.password"),
                ({"token": "${X}"}, {"X": odd}, "gateway.auth.token"),
                ({}, {TOKEN: odd}, TOKEN),
                ({}, {PASSWORD: odd}, PASSWORD),
            ):
                message = self.refused(auth, environ)
                self.assertTrue(message.startswith(name + why), message)
                self.assertNotIn(odd, message)
        # a byte of the environment that is no UTF-8
        self.assertTrue(self.refused({}, {TOKEN: "a\udc80b"}).startswith(TOKEN + why))
        self.check({"token": "\r\n\t a b \t\n"}, {}, ("token", "a b"))
        self.check({"token": "pässwörd ✓"}, {}, ("token", "pässwörd ✓"))

    def test_ambiguous(self) -> None:
        """Both secrets and no mode."""
        for secret in ("t", "${X}", {"source": "env", "id": "X"}):
            self.assertRaises(ConfigError, effective_auth, config(auth={"token": secret, "password": "p"}), {})
        error = self.assertRaises(ConfigError, effective_auth, config(), {TOKEN: "t", PASSWORD: "p"})
        self.assertEqual(
            (
                "gateway.auth.mode: required, because OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_PASSWORD "
                'are both set; use "token" or "password"',
            ),
            error.problems,
        )

    def test_none(self) -> None:
        """The mode none is for loopback only, whatever else is set."""
        for gateway in ({}, {"bind": "loopback"}, {"bind": "custom", "customBindHost": "127.0.0.2"}):
            found = effective_auth(config(auth={"mode": "none", "token": "t"}, **gateway), {})
            self.assertEqual(("none", None), (found.mode, found.secret))
        for bind in ("auto", "lan", "tailnet", "custom"):
            message = self.refused({"mode": "none"}, {TOKEN: "t"}, bind=bind, customBindHost="192.0.2.1")
            self.assertEqual(
                f'gateway.auth.mode "none" needs gateway.bind "loopback", not "{bind}": set a token or a password',
                message,
            )

    def test_trusted_proxy(self) -> None:
        """Not available yet, and it names what is."""
        error = self.assertRaises(StartError, effective_auth, parse_config(PROXY, {})[0], {TOKEN: "t"})
        self.assertEqual(
            'gateway.auth.mode "trusted-proxy" is not available yet; use "token", "password" or, on loopback, "none"',
            error.message,
        )
        self.assertEqual(78, error.exit_code)


class AddressTests(SynchronousTestCase):
    """Where to listen."""

    def test_bind_host(self) -> None:
        """Each bind has its address."""
        for gateway, host in [
            ({}, "127.0.0.1"),
            ({"bind": "auto"}, "127.0.0.1"),
            ({"bind": "lan"}, "0.0.0.0"),
            ({"bind": "custom", "customBindHost": "::1"}, "::1"),
            ({"bind": "custom", "customBindHost": "localhost"}, "127.0.0.1"),
        ]:
            self.assertEqual(host, bind_host(config(None, **gateway)))
        error = self.assertRaises(StartError, bind_host, config(bind="tailnet"))
        self.assertEqual(
            'gateway.bind "tailnet" is not available yet; use "custom" with gateway.customBindHost', error.message
        )

    def test_loopback(self) -> None:
        """Addresses of this machine, IPv4-mapped ones included."""
        for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback_host(host), host)
        for host in ("", "0.0.0.0", "::", "192.168.1.1", "::ffff:10.0.0.1", "localhost.example", "127.1"):
            self.assertFalse(is_loopback_host(host), host)

    def test_port(self) -> None:
        """The environment's port beats the configuration's."""
        name = "OPENCLAW_GATEWAY_PORT"
        self.assertEqual(18789, listen_port(Config(), {}))
        self.assertEqual(5, listen_port(config(port=5), {name: " "}))
        self.assertEqual(80, listen_port(config(port=5), {name: " 80 "}))
        for text in ("0", "65536", "-1", "x", "8_0", "²", "9" * 5000):
            error = self.assertRaises(StartError, listen_port, Config(), {name: text})
            self.assertEqual(f'{name}: expected a port between 1 and 65535, got "{text[:40]}"', error.message)
