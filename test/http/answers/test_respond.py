"""Tests for L{openclaw.http.answers.respond}."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator

import msgspec
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw import errors
from openclaw.errors import OpenClawError
from openclaw.http.answers.respond import as_openclaw_error, error_body, error_headers, from_validation_error, json_body
from test.http.support import GatewayTestCase

CASES: list[tuple[OpenClawError, int, str, str | None, dict[str, str]]] = [
    (errors.InvalidRequest("m", param="a.0.b"), 400, "invalid_request_error", None, {"retry": "false"}),
    (errors.ModelNotFound("m"), 400, "invalid_request_error", "model_not_found", {"retry": "false"}),
    (errors.ContextTooLong("m"), 400, "invalid_request_error", "context_length_exceeded", {"retry": "false"}),
    (
        errors.Unauthorized("m", delay_s=1),
        401,
        "unauthorized",
        "invalid_api_key",
        {"auth": 'Bearer realm="openclaw"', "retry": "false"},
    ),
    (errors.Forbidden("m", code="host_not_allowed"), 403, "forbidden", "host_not_allowed", {"retry": "false"}),
    (errors.Forbidden("m", code="p", wire_type="p"), 403, "p", "p", {"retry": "false"}),
    (errors.MissingScope("operator.write"), 403, "forbidden", "missing_scope", {"retry": "false"}),
    (errors.NotFound("m"), 404, "invalid_request_error", "not_found", {"retry": "false"}),
    (
        errors.MethodNotAllowed("GET, HEAD"),
        405,
        "invalid_request_error",
        "method_not_allowed",
        {"allow": "GET, HEAD", "retry": "false"},
    ),
    (
        errors.ResultNotKept("m"),
        409,
        "invalid_request_error",
        "idempotency_result_too_large",
        {"retry": "false"},
    ),
    (errors.IdempotencyConflict("m"), 422, "invalid_request_error", "idempotency_conflict", {"retry": "false"}),
    (errors.BodyTimeout("m"), 408, "invalid_request_error", "request_timeout", {}),
    (errors.BodyTooLarge("m"), 413, "invalid_request_error", "payload_too_large", {"retry": "false"}),
    (errors.UnsupportedMedia("m"), 415, "invalid_request_error", "unsupported_media_type", {"retry": "false"}),
    (errors.LockedOut("m", retry_after_s=299.01), 429, "rate_limited", "too_many_auth_failures", {"after": "300"}),
    (errors.StoreError("m"), 503, "api_error", "store_unavailable", {}),
    (errors.Overloaded("m", retry_after_s=2.0), 503, "api_error", "overloaded", {"after": "2"}),
    (errors.Draining("m", retry_after_s=0.2), 503, "api_error", "draining", {"after": "1"}),
    (errors.RunTimeout("m"), 504, "api_error", "timeout", {"retry": "false"}),
    (errors.RunCancelled("m"), 499, "api_error", "cancelled", {"retry": "false"}),
    (errors.ProviderAuthFailed("m"), 424, "api_error", "provider_auth_failed", {"retry": "false"}),
    (errors.ProviderRejected("m", status=422, code="x"), 422, "invalid_request_error", "x", {"retry": "false"}),
    (errors.ProviderModelUnknown("m", status=404, code="x"), 404, "invalid_request_error", "x", {"retry": "false"}),
    (errors.ProviderQuota("m"), 429, "insufficient_quota", "insufficient_quota", {"retry": "false"}),
    (errors.ProviderRateLimited("m", retry_after_s=0), 429, "rate_limit_error", "rate_limit_exceeded", {"after": "1"}),
    (errors.ProviderRateLimited("m"), 429, "rate_limit_error", "rate_limit_exceeded", {}),
    (errors.ProviderOverloaded("m"), 503, "api_error", "provider_overloaded", {}),
    (errors.ProviderTimeout("m"), 504, "api_error", "timeout", {"retry": "false"}),
    (errors.TransientProviderTimeout("m"), 504, "api_error", "timeout", {"retry": "false"}),
    (errors.ProviderFailed("m"), 502, "api_error", "provider_error", {"retry": "false"}),
    (errors.LastingProviderFailure("m"), 502, "api_error", "provider_error", {"retry": "false"}),
    (OpenClawError("m"), 500, "api_error", "internal_error", {}),
]


def subclasses(kind: type[OpenClawError]) -> Iterator[type[OpenClawError]]:
    """All kinds below one."""
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


class ErrorTests(SynchronousTestCase):
    def test_every_kind(self) -> None:
        shown = {"auth": "WWW-Authenticate", "allow": "Allow", "after": "Retry-After", "retry": "X-Should-Retry"}
        for error, status, kind, code, extra in CASES:
            headers = Headers()
            error_headers(error, headers)
            self.assertEqual(error.http_status, status)
            found = {
                key: headers.getRawHeaders(name, [""])[0] for key, name in shown.items() if headers.hasHeader(name)
            }
            self.assertEqual(found, extra, error)
            self.assertEqual(headers.getRawHeaders("Content-Type"), ["application/json; charset=utf-8"])
            text = error_body(error)
            self.assertTrue(text.endswith(b"}\n"))
            told = json.loads(text)["error"]
            self.assertEqual((told["type"], told["code"]), (kind, code))
            self.assertEqual((told["message"], told["param"]), (error.message, error.param))

    def test_no_kind_is_forgotten(self) -> None:
        shown = {type(case[0]) for case in CASES}
        parents = {errors.RequestError, errors.CapacityError, errors.RunError, errors.ProviderError}
        never_sent = {errors.ConfigError, errors.StartError}
        kinds = {kind for kind in subclasses(OpenClawError) if kind.__module__ == "openclaw.errors"}
        self.assertEqual(kinds - shown - parents - never_sent, set())

    def test_missing_scope(self) -> None:
        told = json.loads(error_body(errors.MissingScope("operator.write")))
        self.assertEqual(list(told), ["ok", "error"])
        self.assertIs(told["ok"], False)
        self.assertEqual(told["error"]["message"], "missing scope: operator.write")
        self.assertEqual(
            told["error"]["details"],
            {"code": "MISSING_SCOPE", "missingScope": "operator.write", "requiredScopes": ["operator.write"]},
        )

    def test_other_errors_have_four_members(self) -> None:
        told = json.loads(error_body(errors.NotFound("m")))
        self.assertEqual(list(told), ["error"])
        self.assertEqual(list(told["error"]), ["message", "type", "param", "code"])

    def test_after_output_nothing_may_be_retried(self) -> None:
        for error in (errors.ProviderFailed("m"), errors.RunTimeout("m"), errors.ProviderOverloaded("m")):
            headers = Headers()
            error_headers(error, headers, produced_output=True)
            self.assertEqual(headers.getRawHeaders("X-Should-Retry"), ["false"])

    def test_bug(self) -> None:
        error = as_openclaw_error(Failure(ZeroDivisionError("/secret/path")), "my-id")
        self.assertEqual((error.http_status, error.message, error.code), (500, "internal error", "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_out_of_descriptors(self) -> None:
        """It is no bug, and no traceback for each request."""
        error = as_openclaw_error(Failure(OSError(errno.EMFILE, "too many open files")), "my-id")
        self.assertEqual((error.http_status, error.code), (503, "overloaded"))

    def test_own_error_is_itself(self) -> None:
        error = errors.NotFound("m")
        self.assertIs(as_openclaw_error(Failure(error), "my-id"), error)

    def test_body(self) -> None:
        self.assertEqual(json_body({"a": "é"}), '{"a":"é"}\n'.encode())


class BugTests(GatewayTestCase):
    def test_log_line_has_the_request_id(self) -> None:
        self.patch(self.runs, "plan", None)
        client = self.connect()
        client.chat("X-Request-Id: my-id")
        self.tick()
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (500, "internal_error"))
        self.assertEqual(set(answer.error), {"message", "type", "param", "code"})
        self.assertNotIn(b"Traceback", answer.body)
        (event,) = self.problems
        self.assertEqual(event["request_id"], "my-id")
        self.flushLoggedErrors(TypeError)


class Inner(msgspec.Struct):
    n: int


class Outer(msgspec.Struct):
    items: list[Inner]
    table: dict[str, Inner] = {}


class ValidationTests(SynchronousTestCase):
    def told(self, text: str) -> tuple[str | None, str]:
        error = self.assertRaises(msgspec.ValidationError, msgspec.json.decode, text, type=Outer)
        found = from_validation_error(error)
        return found.param, found.message

    def test_paths(self) -> None:
        self.assertEqual(self.told('{"items":[{"n":1},{"n":"x"}]}'), ("items.1.n", "items.1.n: Expected int, got str"))
        self.assertEqual(self.told('{"items":[{}]}'), ("items.0.n", "items.0.n is required"))
        self.assertEqual(self.told("{}"), ("items", "items is required"))
        self.assertEqual(self.told("[]"), (None, "Expected object, got array"))
        self.assertEqual(self.told('{"items":[],"table":{"k":{"n":"x"}}}')[0], "table.....n")
