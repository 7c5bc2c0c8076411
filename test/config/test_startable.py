"""What keeps a gateway from starting with a valid configuration."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.config.startable import obstacles

TOKEN = {"token": "0123456789abcdefgh"}

TABLE: list[tuple[dict[str, Any], dict[str, str], list[tuple[str, bool]]]] = [
    ({"auth": TOKEN}, {}, []),
    ({}, {"OPENCLAW_GATEWAY_TOKEN": "x"}, []),
    ({}, {}, [("no credential: set gateway.auth.token first, or OPENCLAW_GATEWAY_TOKEN", True)]),
    ({"auth": {"mode": "password", **TOKEN}}, {}, [("no credential: set gateway.auth.password first", True)]),
    ({"auth": {"token": "${NO}"}}, {}, [("no credential: gateway.auth.token needs NO", False)]),
    (
        {"auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x"}}},
        {},
        [('gateway.auth.mode "trusted-proxy"', True)],
    ),
    ({"auth": {"mode": "none"}}, {}, []),
    ({"auth": {"mode": "none"}, "bind": "lan"}, {}, [('gateway.auth.mode "none" needs', True)]),
    ({"auth": {**TOKEN, "password": "x"}}, {}, [("gateway.auth: token and password", True)]),
    ({"auth": TOKEN, "bind": "tailnet"}, {}, [('gateway.bind "tailnet"', True)]),
    ({"auth": TOKEN, "bind": "custom", "customBindHost": "localhost"}, {}, []),
    ({"auth": TOKEN, "bind": "custom", "customBindHost": "127.0.0.1"}, {}, []),
    ({"auth": TOKEN, "bind": "custom", "customBindHost": "203.0.113.77"}, {}, [("gateway.customBindHost: ", False)]),
    ({"auth": TOKEN}, {"OPENCLAW_GATEWAY_PORT": "x"}, [("OPENCLAW_GATEWAY_PORT: ", True)]),
    ({"mode": "remote", "remote": {"url": "ws://127.0.0.1:1"}, "bind": "tailnet"}, {}, []),
    ({"auth": {"mode": "password"}, "bind": "tailnet"}, {}, [("no credential", True), ("gateway.bind", True)]),
]


class ObstacleTests(SynchronousTestCase):
    def test_table(self) -> None:
        for gateway, environ, expected in TABLE:
            config, _ = parse_config({"gateway": gateway}, environ)
            found = obstacles(config, environ)
            self.assertEqual(len(found), len(expected), (gateway, found))
            for one, (text, certain) in zip(found, expected, strict=True):
                self.assertTrue(one.text.startswith(text), one)
                self.assertEqual(one.certain, certain)
