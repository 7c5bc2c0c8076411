"""The section C{env}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config


class EnvTests(SynchronousTestCase):
    """L{openclaw.config.env.EnvConfig}."""

    def test_values(self) -> None:
        """Both forms count, C{vars} first; blank ones do not."""
        document = {"env": {"vars": {"A": "1", "E": ""}, "A": "2", "B": "3", "shellEnv": {"enabled": False}}}
        config, warnings = parse_config(document, {})
        self.assertEqual({"A": "1", "B": "3"}, config.env.values())
        self.assertEqual(("these settings are accepted and not used: env.shellEnv",), warnings)
