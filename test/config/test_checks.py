"""Forms of single values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.checks import (
    ADDRESS,
    HEADER_NAME,
    HTTP_URL,
    MODEL_REF,
    NETWORK,
    NOT_BLANK,
    ORIGIN,
    Between,
    Check,
)

GOOD: list[tuple[Check, tuple[object, ...]]] = [
    (Between(1, 3), (1, 2.5, 3)),
    (NOT_BLANK, ("a",)),
    (NETWORK, ("10.0.0.1", "10.0.0.9/8", "::1", "fd00::/8")),
    (ADDRESS, ("localhost", "0.0.0.0", "::1", "192.0.2.1")),
    (ORIGIN, ("https://a.example", "http://localhost:3000", "HTTPS://A.example", "https://[::1]:8080", "tauri://x")),
    (HTTP_URL, ("http://h", "https://h.example:8443/v1", "http://[::1]:9/v1/")),
    (HEADER_NAME, ("X-Api-Key", "a_b")),
    (MODEL_REF, ("a/b", "openrouter/meta/llama:free")),
]
BAD: list[tuple[Check, tuple[object, ...]]] = [
    (Between(1, 3), (0, 0.5, 3.1, 4)),
    (NOT_BLANK, ("", " \t")),
    (NETWORK, ("", "x", "10.0.0.1/99", "10.0.0", "host.example")),
    (ADDRESS, ("", "10.0.0.0/8", "host.example", "256.1.1.1")),
    (ORIGIN, ("*", "null", "a.example", "https://a/", "https://*.a", "https://u@a", "https://a b", "https://")),
    (HTTP_URL, ("", "h/v1", "file:///x", "http://", "http://h:0", "http://h:x", "http://h /", "http://h/#f")),
    (HEADER_NAME, ("", "a b", "a:b", "é", "a\n")),
    (MODEL_REF, ("", "a", "/b", "a/", " / ")),
]


class CheckTests(SynchronousTestCase):
    """Each check on good and bad values."""

    def test_good(self) -> None:
        """Nothing to say."""
        for check, values in GOOD:
            for value in values:
                self.assertIsNone(check.fault(value), (check, value))

    def test_bad(self) -> None:
        """A phrase without the value, which the caller adds."""
        for check, values in BAD:
            for value in values:
                self.assertIsInstance(check.fault(value), str, (check, value))
