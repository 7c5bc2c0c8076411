"""Secrets stay hidden."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.config.secret import Secret

from .documents import auth, one_provider


class SecretTests(SynchronousTestCase):
    """L{Secret}."""

    def test_hidden(self) -> None:
        """No text form shows it, nor does a configuration that holds it."""
        secret = Secret("hush")
        for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
            self.assertNotIn("hush", text)
        for document in (auth(token="hush"), one_provider(apiKey="hush"), {"env": {"vars": {"A": "hush"}}}):
            self.assertNotIn("hush", repr(parse_config(document, {})[0]))
        self.assertEqual("hush", secret.reveal())

    def test_equality(self) -> None:
        """Values count, not where they come from."""
        self.assertEqual(Secret("a"), Secret("a", literal=False, reference=True, missing=("X",)))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertEqual(1, len({Secret("a"), Secret("a", literal=False)}))

    def test_usable(self) -> None:
        """A blank one, or one that lacks its variable, cannot be used."""
        self.assertTrue(Secret(" a ").usable)
        self.assertFalse(Secret(" \n").usable)
        self.assertFalse(Secret("${A}", missing=("A",)).usable)
