"""Tests of L{openclaw.errors}."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from openclaw import errors
from openclaw.errors import OpenClawError

# Of contract and docs: status, type, code, whether a retry is useless.
TABLE: dict[OpenClawError, tuple[int, str, str | None, bool]] = {
    OpenClawError("m"): (500, "api_error", "internal_error", False),
    errors.ConfigError(["a: x"]): (500, "api_error", "config_invalid", False),
    errors.StartError("m"): (500, "api_error", "start_failed", False),
    errors.StoreError("m"): (503, "api_error", "store_unavailable", False),
    errors.RequestError("m"): (400, "invalid_request_error", None, True),
    errors.InvalidRequest("m"): (400, "invalid_request_error", None, True),
    errors.ModelNotFound("m"): (400, "invalid_request_error", "model_not_found", True),
    errors.ContextTooLong("m"): (400, "invalid_request_error", "context_length_exceeded", True),
    errors.Unauthorized("m"): (401, "unauthorized", "invalid_api_key", True),
    errors.Forbidden("m"): (403, "forbidden", "forbidden", True),
    errors.MissingScope("operator.read"): (403, "forbidden", "missing_scope", True),
    errors.NotFound("m"): (404, "invalid_request_error", "not_found", True),
    errors.MethodNotAllowed("GET, HEAD"): (405, "invalid_request_error", "method_not_allowed", True),
    errors.BodyTimeout("m"): (408, "invalid_request_error", "request_timeout", False),
    errors.BodyTooLarge("m"): (413, "invalid_request_error", "payload_too_large", True),
    errors.UnsupportedMedia("m"): (415, "invalid_request_error", "unsupported_media_type", True),
    errors.ResultNotKept("m"): (409, "invalid_request_error", "idempotency_result_too_large", True),
    errors.IdempotencyConflict("m"): (422, "invalid_request_error", "idempotency_conflict", True),
    errors.LockedOut("m"): (429, "rate_limited", "too_many_auth_failures", False),
    errors.CapacityError("m"): (503, "api_error", "internal_error", False),
    errors.Overloaded("m"): (503, "api_error", "overloaded", False),
    errors.Draining("m"): (503, "api_error", "draining", False),
    errors.RunError("m"): (500, "api_error", "internal_error", False),
    errors.RunTimeout("m"): (504, "api_error", "timeout", False),
    errors.RunCancelled("m"): (499, "api_error", "cancelled", True),
    errors.ProviderError("m"): (502, "api_error", "provider_error", False),
    errors.ProviderAuthFailed("m"): (424, "api_error", "provider_auth_failed", True),
    errors.ProviderRejected("m", status=422): (422, "invalid_request_error", None, True),
    errors.ProviderModelUnknown("m", status=400, code="x"): (400, "invalid_request_error", "x", True),
    errors.ProviderQuota("m"): (429, "insufficient_quota", "insufficient_quota", True),
    errors.ProviderRateLimited("m"): (429, "rate_limit_error", "rate_limit_exceeded", False),
    errors.ProviderOverloaded("m"): (503, "api_error", "provider_overloaded", False),
    errors.ProviderTimeout("m"): (504, "api_error", "timeout", False),
    errors.TransientProviderTimeout("m"): (504, "api_error", "timeout", False),
    errors.ProviderFailed("m"): (502, "api_error", "provider_error", False),
    errors.LastingProviderFailure("m"): (502, "api_error", "provider_error", False),
}


class ErrorTests(SynchronousTestCase):
    def test_on_the_wire(self) -> None:
        for error, expected in TABLE.items():
            found = (error.http_status, error.wire_type, error.code, error.retry_useless)
            self.assertEqual(expected, found, type(error).__name__)

    def test_table_and_drawing_are_complete(self) -> None:
        defined = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OpenClawError)}
        self.assertEqual(defined, {type(error) for error in TABLE})
        drawn = set(re.findall(r"── (\w+)", errors.__doc__ or "")) | {"OpenClawError"}
        self.assertEqual({kind.__name__ for kind in defined}, drawn)

    def test_transient(self) -> None:
        transient = {type(error).__name__ for error in TABLE if getattr(error, "transient", False)}
        self.assertEqual(
            {"ProviderRateLimited", "ProviderOverloaded", "ProviderFailed", "TransientProviderTimeout"}, transient
        )

    def test_what_the_raiser_gives(self) -> None:
        error = errors.InvalidRequest("no", code="c", param="messages.0.role", retry_after_s=2.5)
        self.assertEqual(
            ("no", "no", "c", "messages.0.role", 2.5),
            (str(error), error.message, error.code, error.param, error.retry_after_s),
        )
        bare = errors.InvalidRequest("no")
        self.assertEqual((None, None, None, None), (bare.code, bare.param, bare.retry_after_s, bare.details))

    def test_config_error_names_every_problem(self) -> None:
        error = errors.ConfigError(["a: x", "b: y"], "/etc/openclaw.json")
        self.assertEqual((("a: x", "b: y"), "/etc/openclaw.json"), (error.problems, error.path))
        self.assertEqual("a: x; b: y", error.message)

    def test_start_error(self) -> None:
        self.assertEqual(
            [1, 78], [errors.StartError("m").exit_code, errors.StartError("m", errors.EXIT_CONFIG).exit_code]
        )

    def test_unauthorized_may_be_answered_late(self) -> None:
        self.assertEqual(
            [0.0, 0.25], [errors.Unauthorized("m").delay_s, errors.Unauthorized("m", delay_s=0.25).delay_s]
        )

    def test_forbidden_with_a_type_of_its_own(self) -> None:
        error = errors.Forbidden("m", code="c", wire_type="proxy_attribution_required")
        self.assertEqual(("c", "proxy_attribution_required"), (error.code, error.wire_type))

    def test_missing_scope(self) -> None:
        error = errors.MissingScope("operator.read")
        self.assertEqual("missing scope: operator.read", error.message)
        self.assertEqual(
            {"code": "MISSING_SCOPE", "missingScope": "operator.read", "requiredScopes": ["operator.read"]},
            error.details,
        )

    def test_method_not_allowed(self) -> None:
        error = errors.MethodNotAllowed("GET, HEAD")
        self.assertEqual(("GET, HEAD", "method not allowed; use GET, HEAD"), (error.allow, error.message))

    def test_rejected_keeps_what_the_provider_said(self) -> None:
        error = errors.ProviderRejected("m", status=404, code="no_model", param="model")
        self.assertEqual((404, "no_model", "model"), (error.http_status, error.code, error.param))
