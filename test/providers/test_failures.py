"""Tests of L{openclaw.providers.failures}."""

from __future__ import annotations

import errno
import json
import time
from email.utils import formatdate
from typing import Any

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import (
    ConnectBindError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.ssl import VerificationError
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers

from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    TransientProviderTimeout,
)
from openclaw.providers import failures
from openclaw.providers.failures import (
    NETWORK_ERRORS,
    clean_text,
    error_of_answer,
    error_of_event,
    error_of_network,
    retry_after_s,
)


def openai_body(message: str = "told", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, "type": "mock_error", "param": None, **more}}).encode()


def answer(status: int, body: bytes = b"", headers: Headers | None = None, **more: Any) -> OpenClawError:
    return error_of_answer(status, headers or Headers(), body, name="mock", **more)


class StatusTests(SynchronousTestCase):
    def test_map(self) -> None:
        """Every status has its error, HTTP status, code, message and whether it is tried again."""
        lasting, failed = LastingProviderFailure, ProviderFailed
        rows: list[tuple[int, type[OpenClawError], int, str | None, str, bool]] = [
            (400, ProviderRejected, 400, "mock_error", "refused the request: told", False),
            (401, ProviderAuthFailed, 424, "provider_auth_failed", "refused our credentials: told", False),
            (402, ProviderQuota, 429, "insufficient_quota", "has no quota left for us: told", False),
            (403, ProviderAuthFailed, 424, "provider_auth_failed", "refused our credentials: told", False),
            (404, ProviderRejected, 404, "mock_error", "refused the request: told", False),
            (405, lasting, 502, "provider_error", "gave an answer that was not expected: told", False),
            (408, TransientProviderTimeout, 504, "timeout", "timed out: told", True),
            (413, ContextTooLong, 400, "context_length_exceeded", "finds the prompt too long: told", False),
            (422, ProviderRejected, 422, "mock_error", "refused the request: told", False),
            (429, ProviderRateLimited, 429, "rate_limit_exceeded", "asks to slow down: told", True),
            (500, failed, 502, "provider_error", "failed: told", True),
            (502, failed, 502, "provider_error", "failed: told", True),
            (503, ProviderOverloaded, 503, "provider_overloaded", "is overloaded: told", True),
            (504, TransientProviderTimeout, 504, "timeout", "timed out: told", True),
            (529, ProviderOverloaded, 503, "provider_overloaded", "is overloaded: told", True),
            (599, failed, 502, "provider_error", "failed: told", True),
            (301, lasting, 502, "provider_error", "answered with a redirect", False),
            (307, lasting, 502, "provider_error", "answered with a redirect", False),
            (204, lasting, 502, "provider_error", "gave an answer that was not expected: told", False),
        ]
        for status, kind, http_status, code, message, transient in rows:
            error = answer(status, openai_body())
            self.assertIs(kind, type(error), status)
            self.assertEqual((http_status, code), (error.http_status, error.code), status)
            self.assertTrue(error.message.startswith(f"the provider mock {message}"), error.message)
            self.assertEqual(transient, getattr(error, "transient", False), status)

    def test_no_reason(self) -> None:
        """Without a reason the message says so; the status is in none of them, and the provider once in all."""
        for status in (301, 400, 401, 402, 403, 404, 405, 408, 413, 422, 429, 500, 502, 503, 504, 529, 599):
            for body in (b"", b"{}", openai_body(f"{status} told"), openai_body(f"Error code: {status} - told")):
                message = answer(status, body).message
                self.assertNotIn(str(status), message)
                self.assertEqual(1, message.count("mock"), message)
                self.assertTrue(status == 301 or message.endswith(("told", "and gives no reason")), message)

    def test_codes_beat_statuses(self) -> None:
        """A used-up quota and a too long prompt are told by their code, in C{code} or C{type}, at any status."""
        for status in (400, 403, 429, 500):
            self.assertIsInstance(answer(status, openai_body(code="insufficient_quota")), ProviderQuota)
            self.assertIsInstance(answer(status, openai_body(type="insufficient_quota")), ProviderQuota)
            self.assertIsInstance(answer(status, openai_body(code="context_length_exceeded")), ContextTooLong)
            self.assertIsInstance(
                answer(status, openai_body(code=400, type="exceed_context_size_error")), ContextTooLong
            )

    def test_context_phrases(self) -> None:
        """Servers without a code for a too long prompt are understood by what they write."""
        body = openai_body("This model's maximum context length is 4096 tokens.", type="BadRequestError", code=400)
        self.assertIsInstance(answer(400, body), ContextTooLong)

    def test_codes_passed(self) -> None:
        """A rejected request keeps the provider's code; a number is none."""
        self.assertEqual("bad_value", answer(400, openai_body(code="bad_value")).code)
        self.assertEqual("mock_error", answer(400, openai_body(code=400)).code)
        self.assertIsNone(answer(400, b'{"error": {"message": "x", "code": 400, "type": true}}').code)

    def test_bodies(self) -> None:
        """All forms of bodies that are about give their message."""
        rows = [
            (b'{"error": "bare"}', "bare"),
            (b'{"object": "error", "message": "flat", "type": "BadRequestError", "code": 400}', "flat"),
            (b'{"detail": "not here"}', "not here"),
            (b'{"detail": [{"loc": ["body"]}]}', '[{"loc":["body"]}]'),
            (b'{"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}', "body.seed: not permitted"),
            (b'{"detail": {"error": "Model is asleep"}}', "Model is asleep"),
            (b'[{"error": {"code": 400, "message": "in a list", "status": "INVALID"}}]', "in a list"),
            (b'{"success": false, "errors": [{"code": 7, "message": "one"}, {"message": "two"}]}', "one; two"),
            (b'{"errors": ["first problem", "second problem"]}', "first problem; second problem"),
            (b'{"title": "Wrong", "errors": {"model": ["is required"]}}', "model: is required"),
            (b'{"code": 1210, "msg": "the parameter is wrong"}', "the parameter is wrong"),
            (b'{"Message": "spelt large"}', "spelt large"),
            (b'{"error_code": 17, "error_msg": "spelt otherwise"}', "spelt otherwise"),
            (b'{"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}', "invalid params"),
            (b'{"error": {"message": "{\\"error\\": {\\"message\\": \\"in a text\\"}}"}}', "in a text"),
            (
                b'{"error": {"message": "Provider returned error", "metadata": {"raw": "{\\"msg\\": \\"behind\\"}"}}}',
                "Provider returned error: behind",
            ),
            (b'data: {"error": {"message": "as an event"}}\n\n', "as an event"),
            (b'error: {"message": "as a field"}', "as a field"),
            (b'"text"', "text"),
            (b"plain text\r\n", "plain text"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            (b'{"error": {"message": "cut', '{"error": {"message": "cut'),
            (b'{"error": {"message": "\xff"}}', '{"error": {"message": "\ufffd"}}'),
            (b"[" * 60_000, "[" * 499 + "…"),
        ]
        for body, message in rows:
            self.assertEqual("the provider mock refused the request: " + message, answer(400, body).message)

    def test_long_bodies(self) -> None:
        """What is long and made to be slow is read in no time, whatever it says."""
        words = (
            "model ",
            "prompt exceeds ",
            "exceeds ",
            "too many tokens ",
            "sk-proj-",
            "*",
            "x",
            ".",
            "context ",
            "a",
        )
        began_s = time.process_time()
        for word in words:
            body = openai_body(word * (60_000 // len(word)))
            for status in (400, 401, 429, 500):
                answer(status, body, secrets=["sk-proj-abcdefgh1234567890wxyz"])
        self.assertLess((time.process_time() - began_s) / len(words) / 4, 0.05)

    def test_deep_bodies(self) -> None:
        """However deep it is nested, it is an error like any other."""
        for depth in (50, 500, 900, 5000):
            for opening, closing in ((b'{"error":', b"}"), (b'{"errors":[', b"]}"), (b'[{"detail":', b"}]")):
                self.assertIsInstance(answer(400, opening * depth + b'"x"' + closing * depth), ProviderRejected)

    def test_unreadable_bodies(self) -> None:
        """What holds no reason is told to the log alone, by its first 200 characters and without our secrets."""
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        page = b"<html><h1>Bad sk-12345678</h1>" + b"x" * 1000
        for body in (page, b'{"error": {"message": null}}', b'{"error": {}}', b"[]", b"7", b'{"a": {"b": "c"}}'):
            error = answer(400, body, secrets=["sk-12345678"])
            self.assertEqual("the provider mock refused the request and gives no reason", error.message)
            event = told.pop()
            self.assertEqual(clean_text(body.decode(), ["sk-12345678"])[:200], event["text"])
        self.assertIn("status 400", formatEvent(event))
        answer(400, b"")
        self.assertEqual([], told)

    def test_texts_are_cleaned(self) -> None:
        """Texts are cut at 500 characters, are one line and hold no secret."""
        error = answer(400, openai_body("a\r\n\x1b[31mb\x00 Bearer sk-12345678 " + "x" * 1000), secrets=["sk-12345678"])
        text = error.message.removeprefix("the provider mock refused the request: ")
        self.assertTrue(text.startswith("a [31mb  Bearer *** xxx"))
        self.assertEqual(500, len(text))
        self.assertEqual("a a", clean_text("a\u2028a", ["", "a"]))

    def test_codes_hold_no_secret(self) -> None:
        """A server may echo the key there; cut to its length first it could still be read."""
        key = "sk-12345678"
        self.assertEqual("bad_***", answer(400, openai_body(code=f"bad_{key}"), secrets=iter([key])).code)
        self.assertNotIn("sk-", answer(422, openai_body(code="x" * 95 + key), secrets=[key]).code or "")
        event = {"message": "told", "code": 400, "type": key}
        self.assertEqual("***", error_of_event(event, name="mock", secrets=[key]).code)

    def test_pieces_of_keys(self) -> None:
        """What a provider writes about our key is passed on without what it quotes of it."""
        key = "sk-proj-abcdefgh1234567890wxyz"
        for said, told in (
            (
                "Incorrect API key provided: sk-proj-*****wxyz. See the docs.",
                "Incorrect API key provided: ***. See the docs.",
            ),
            ("bad key sk-p...wxyz", "bad key ***"),
            ("bad key ****wxyz", "bad key ***"),
            ("bad key sk-proj…", "bad key ***"),
            ("bad key sk-proj-abcdefgh", "bad key ***"),
            ("bad key 7890wxyz!", "bad key ***!"),
            (f"bad key {key}", "bad key ***"),
            ("wait... your **free** plan does not serve it", "wait... your **free** plan does not serve it"),
        ):
            error = answer(401, openai_body(said), secrets=[key, "1"])
            self.assertEqual(f"the provider mock refused our credentials: {told}", error.message)


class RetryAfterTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Seconds, milliseconds and dates are read; nonsense is nothing."""
        rows: list[tuple[dict[str, str], float | None]] = [
            ({"Retry-After": "2"}, 2.0),
            ({"Retry-After": " 1.5 "}, 1.5),
            ({"Retry-After": "0"}, 0.0),
            ({"Retry-After": "-3"}, 0.0),
            ({"Retry-After": "86400"}, 86_400.0),
            ({"Retry-After": "1e300"}, 86_400.0),
            ({"Retry-After": "2", "Retry-After-Ms": "250"}, 0.25),
            ({"Retry-After": "2", "Retry-After-Ms": "soon"}, 2.0),
            ({"Retry-After": "nan"}, None),
            ({"Retry-After": "inf"}, None),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "Wed, 99 Nov 2026 21:00:00 GMT"}, None),
            ({}, None),
            ({"Retry-After": "Sun, 22 Nov 2026 21:00:30 GMT", "Date": "Sun, 22 Nov 2026 21:00:00 GMT"}, 30.0),
            ({"Retry-After": "Sun, 22 Nov 2026 21:00:00 GMT", "Date": "Sun, 22 Nov 2026 21:00:30 GMT"}, 0.0),
        ]
        for fields, seconds in rows:
            headers = Headers({name: [value] for name, value in fields.items()})
            self.assertEqual(seconds, retry_after_s(headers), fields)

    def test_date_without_date(self) -> None:
        """Without the response's own date the clock of this machine counts."""
        seconds = retry_after_s(Headers({"Retry-After": [formatdate(time.time() + 100, usegmt=True)]}))
        self.assertTrue(90 < (seconds or 0) <= 100)

    def test_on_errors(self) -> None:
        """Errors that may be tried again carry it."""
        headers = Headers({"Retry-After": ["2"]})
        for status in (408, 429, 500, 503, 504, 529):
            self.assertEqual(2.0, answer(status, openai_body(), headers).retry_after_s, status)


class EventErrorTests(SynchronousTestCase):
    def test_map(self) -> None:
        """An error in a stream is known by its code, then its type, as a word or an HTTP status."""
        rows: list[tuple[Any, type[OpenClawError], str]] = [
            ({"message": "m", "type": "server_error", "code": "mid"}, ProviderFailed, "the provider mock failed: m"),
            ({"message": "m", "code": "rate_limit_exceeded"}, ProviderRateLimited, "asks to slow down: m"),
            ({"message": "m", "type": "overloaded_error"}, ProviderOverloaded, "is overloaded: m"),
            ({"message": "m", "code": 503}, ProviderOverloaded, "is overloaded: m"),
            ({"message": "m", "code": "502"}, ProviderFailed, "failed: m"),
            ({"message": "m", "code": 200}, ProviderFailed, "the provider mock failed: m"),
            ({"message": "m", "code": 401}, ProviderAuthFailed, "refused our credentials: m"),
            ({"message": "m", "type": "invalid_request_error"}, ProviderRejected, "refused the request: m"),
            ({"message": "m", "code": "insufficient_quota"}, ProviderQuota, "m"),
            ({"message": "m", "code": "context_length_exceeded"}, ContextTooLong, "m"),
            ({"message": "m", "type": "timeout_error"}, TransientProviderTimeout, "timed out: m"),
            ({"code": "\u00b2\u00b2\u00b2"}, ProviderFailed, "gives no reason"),
            ({}, ProviderFailed, "gives no reason"),
            ("bare", ProviderFailed, "bare"),
            (7, ProviderFailed, "gives no reason"),
        ]
        for document, kind, message in rows:
            error = error_of_event(document, name="mock")
            self.assertIs(kind, type(error), document)
            self.assertIn(message, error.message)

    def test_secrets(self) -> None:
        """Secrets are kept out of these too."""
        error = error_of_event({"message": "key sk-12345678"}, name="mock", secrets=["sk-12345678"])
        self.assertEqual("the provider mock failed: key ***", error.message)


def wrapped(kind: type[Exception], *causes: Exception) -> Exception:
    return kind([Failure(cause) for cause in causes])


class NetworkErrorTests(SynchronousTestCase):
    def test_map(self) -> None:
        """Each failure of the network has its sentence, and whether it is tried again."""
        lasting, timeout, failed = LastingProviderFailure, TransientProviderTimeout, ProviderFailed
        rows: list[tuple[Exception, type[OpenClawError], str, bool]] = [
            (ConnectionRefusedError(), failed, "connection refused", True),
            (TimeoutError(), timeout, "could not be reached in time", True),
            (TCPTimedOutError(), timeout, "could not be reached in time", True),
            (DeferredTimeoutError(), timeout, "could not be reached in time", True),
            (DNSLookupError("x"), failed, "its host name cannot be resolved", True),
            (NoRouteError(), failed, "the provider mock could not be reached", True),
            (OSError(101, "no way there"), failed, "the provider mock could not be reached", True),
            (SchemeNotSupported(), lasting, "baseUrl", False),
            (ValueError("bad"), lasting, "baseUrl", False),
            (TLSError([]), lasting, "TLS failed", False),
            (wrapped(ResponseNeverReceived, TLSError([])), lasting, "TLS failed", False),
            (wrapped(ResponseNeverReceived, VerificationError(errors=[])), lasting, "TLS failed", False),
            (wrapped(ResponseNeverReceived, ConnectionDone()), failed, "without an answer", True),
            (wrapped(ResponseNeverReceived, ConnectionAborted()), failed, "without an answer", True),
            (wrapped(RequestTransmissionFailed, ConnectionLost()), failed, "without an answer", True),
            (wrapped(ResponseFailed, ConnectionLost()), failed, "cut its answer off", True),
            (wrapped(ResponseFailed, ValueError()), lasting, "does not speak HTTP", False),
        ]
        for cause, kind, message, transient in rows:
            self.assertIsInstance(cause, NETWORK_ERRORS)
            error = error_of_network(cause, name="mock")
            self.assertIs(kind, type(error), cause)
            self.assertIn(message, error.message)
            self.assertEqual(transient, getattr(error, "transient", None), cause)

    def test_out_of_descriptors(self) -> None:
        """The gateway's own trouble is not the provider's, and no other model would do better."""
        self.patch(failures, "has_none_left", lambda: True)
        for cause in (
            OSError(errno.EMFILE, "too many open files"),
            ConnectBindError(errno.EMFILE, "too many open files"),
            wrapped(RequestTransmissionFailed, ConnectBindError(errno.EMFILE, "too many open files")),
            # What the system's resolver says then.
            DNSLookupError("[Errno -2] Name or service not known"),
        ):
            error = error_of_network(cause, name="mock")
            self.assertEqual((error.http_status, error.code), (503, "overloaded"), cause)
            self.assertNotIn("provider", error.message)
