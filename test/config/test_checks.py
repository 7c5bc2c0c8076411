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

    def test_operation(self) -> None:
        """The URL of one operation is refused with the one that is meant; what may be a key in it is not shown."""
        for url, right in (
            ("https://h.example/v1/chat/completions", "https://h.example/v1"),
            ("http://127.0.0.1:8080/v1/chat/completions/", "http://127.0.0.1:8080/v1"),
            ("http://[::1]:1/api/v1//Chat/Completions", "http://[::1]:1/api/v1"),
            ("http://h/chat/completions", "http://h"),
            ("http://h/v1/completions", "http://h/v1"),
            ("http://h/v1/responses", "http://h/v1"),
            ("http://h/v1/models/", "http://h/v1"),
            ("https://h/k0123456789abcdef0123/v1/chat/completions", "https://h/***/v1"),
        ):
            fault = str(HTTP_URL.fault(url))
            self.assertTrue(fault.startswith("must not end in /"), fault)
            self.assertEqual(fault.rpartition(" ")[2], right)
            self.assertIsNone(HTTP_URL.fault(right.replace("***", "x")))
        for url in ("https://h/models", "https://h/completions", "https://h/v1/chat", "https://h/chat/completions/v1"):
            self.assertIsNone(HTTP_URL.fault(url), url)

    def test_bad(self) -> None:
        """A phrase without the value, which the caller adds."""
        for check, values in BAD:
            for value in values:
                self.assertIsInstance(check.fault(value), str, (check, value))
