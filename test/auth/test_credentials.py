"""Tests for L{openclaw.auth.credentials}."""

from __future__ import annotations

import hashlib
import hmac

from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth import credentials
from openclaw.auth.credentials import is_secret, presented_secret, secret_digest
from openclaw.errors import InvalidRequest
from test.auth.heads import make_head


class PresentedSecretTests(SynchronousTestCase):
    """What counts as a presented secret (checklist 1, 13)."""

    def presented(self, value: str | bytes) -> bytes | None:
        """What an Authorization header presents."""
        return presented_secret(make_head(("Authorization", value)))

    def test_bearer(self) -> None:
        """The scheme is read in any case, blanks around the secret are not part of it."""
        for value in ("Bearer s3", "bearer s3", "BEARER   s3  ", "  bEaReR\ts3\t"):
            self.assertEqual(self.presented(value), b"s3", value)

    def test_absent(self) -> None:
        """No header, another scheme, no scheme or no secret: nothing is presented."""
        self.assertIsNone(presented_secret(make_head()))
        for value in (
            "",
            " ",
            "Bearer",
            "Bearer ",
            "bearer\t",
            "Basic dTpw",
            "s3",
            "Token s3",
            "Bearers3",
            "Bearer: s3",
        ):
            self.assertIsNone(self.presented(value), value)

    def test_wrong_not_absent(self) -> None:
        """More than one secret is one wrong one, as is any rubbish; it is kept as bytes and never an error."""
        for value, presented in (
            ("Bearer s3, Bearer x", b"s3, Bearer x"),
            ("Bearer s3 x", b"s3 x"),
            (b"Bearer \xff\xfe", b"\xff\xfe"),
            ("Bearer pässwort", "pässwort".encode()),
            ("Bearer ' OR 1=1 --", b"' OR 1=1 --"),
            (b"Bearer \0s3", b"\0s3"),
        ):
            self.assertEqual(self.presented(value), presented)
            self.assertFalse(is_secret(presented, secret_digest(b"s3")))

    def test_elsewhere(self) -> None:
        """Cookies, C{x-api-key}, other headers and the path are never credentials."""
        head = make_head(
            ("Cookie", "token=s3; Authorization=Bearer s3"),
            ("X-Api-Key", "s3"),
            ("Api-Key", "s3"),
            ("Proxy-Authorization", "Bearer s3"),
            ("X-Authorization", "Bearer s3"),
            path=b"/v1/models?token=s3&access_token=s3",
        )
        self.assertIsNone(presented_secret(head))

    def test_repeated(self) -> None:
        """Two Authorization headers are a bad request, even if both are right."""
        head = make_head(("Authorization", "Bearer s3"), ("Authorization", "Bearer s3"))
        self.assertEqual(self.assertRaises(InvalidRequest, presented_secret, head).param, "authorization")


class IsSecretTests(SynchronousTestCase):
    """The comparison (checklist 8, 10)."""

    def test_equal_or_not(self) -> None:
        """Only the very bytes pass: no prefix, no other case, no normalisation, no surrounding bytes."""
        right = secret_digest(b"s3cret")
        self.assertTrue(is_secret(b"s3cret", right))
        for wrong in (b"s3cre", b"s3crett", b"S3cret", b"s3cret\0", b"", b"\xff" * 6, b"a" * 1_000_000):
            self.assertFalse(is_secret(wrong, right))

    def test_any_secret(self) -> None:
        """A secret beyond ASCII matches its UTF-8 bytes and not its Latin-1 bytes."""
        right = secret_digest("pässwort".encode())
        self.assertTrue(is_secret("pässwort".encode(), right))
        self.assertFalse(is_secret("pässwort".encode("latin-1"), right))

    def test_constant_time(self) -> None:
        """Digests of one length go to the constant-time comparison, whatever is presented."""
        compared: list[tuple[bytes, bytes]] = []

        class Recorder:
            @staticmethod
            def compare_digest(a: bytes, b: bytes) -> bool:
                compared.append((a, b))
                return hmac.compare_digest(a, b)

        self.patch(credentials, "hmac", Recorder)
        right = hashlib.sha256(b"s3").digest()
        for presented in (b"s3", b"x", b"\xff", b"a" * 5000):
            is_secret(presented, right)
        self.assertEqual(compared, [(hashlib.sha256(p).digest(), right) for p in (b"s3", b"x", b"\xff", b"a" * 5000)])
