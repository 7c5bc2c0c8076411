"""
The errors that the gateway raises on purpose.

The tree is the documentation; what stands in brackets is the HTTP status::

    OpenClawError
     ├── ConfigError              a configuration that cannot be used; names every problem
     ├── StartError               the gateway cannot start; carries the process exit code
     ├── StoreError               [503] the durable state cannot be read or written
     ├── RequestError             the caller's fault, 4xx
     │    ├── InvalidRequest      [400]
     │    │    ├── ModelNotFound  [400]
     │    │    └── ContextTooLong [400]
     │    ├── Unauthorized        [401]
     │    ├── Forbidden           [403]
     │    │    └── MissingScope   [403]
     │    ├── NotFound            [404]
     │    ├── MethodNotAllowed    [405]
     │    ├── BodyTimeout         [408]
     │    ├── ResultNotKept       [409]
     │    ├── BodyTooLarge        [413]
     │    ├── UnsupportedMedia    [415]
     │    ├── IdempotencyConflict [422]
     │    └── LockedOut           [429]
     ├── CapacityError            [503] nothing is wrong with the request; try later
     │    ├── Overloaded
     │    └── Draining
     ├── RunError                 a run that was started and did not succeed
     │    ├── RunTimeout          [504]
     │    └── RunCancelled        the caller ended it; never sent to that caller
     └── ProviderError            the model server's fault, or ours towards it
          ├── ProviderAuthFailed  [424]
          ├── ProviderRejected    [400, 404, 422] as the provider said
          │    └── ProviderModelUnknown
          ├── ProviderQuota       [429]
          ├── ProviderRateLimited [429]
          ├── ProviderOverloaded  [503]
          ├── ProviderTimeout     [504]
          │    └── TransientProviderTimeout
          └── ProviderFailed      [502]
               └── LastingProviderFailure

Statuses, types and codes are those of the table of errors in C{docs/http-api.md}.  An exception that is
not in this tree is a bug of the gateway and is answered with 500 C{internal_error}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

EXIT_CONFIG = 78
"""Exit status (C{EX_CONFIG} of sysexits): a supervisor must not start us again before somebody changed something."""


class OpenClawError(Exception):
    """
    Base of all errors that are raised on purpose.

    @cvar default_code: the C{code} where the raiser gives none.

    @ivar http_status: HTTP status of the answer.
    @ivar wire_type: the C{type} of the error object on the wire.
    @ivar message: one sentence for the caller; it never holds a path, a secret or a traceback.
    @ivar code: the machine-readable C{code}, or C{None}.
    @ivar param: the field at fault in dotted form (C{messages.0.role}), or C{None}.
    @ivar retry_after_s: seconds after which a retry may succeed, or C{None}.
    @ivar retry_useless: true when no retry of the same request can succeed.
    @ivar details: members of the error object on the wire beyond the common four, or C{None}.
    """

    http_status: int = 500
    wire_type: str = "api_error"
    default_code: ClassVar[str | None] = "internal_error"
    retry_useless: ClassVar[bool] = False
    details: Mapping[str, Any] | None = None

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.param = param
        self.retry_after_s = retry_after_s


class ConfigError(OpenClawError):
    """
    A configuration that cannot be used.

    @ivar problems: one line for each problem, each beginning with the on-disk name of the key.
    """

    default_code: ClassVar[str | None] = "config_invalid"

    def __init__(self, problems: Sequence[str], path: str | None = None) -> None:
        self.problems = tuple(problems)
        self.path = path
        super().__init__("; ".join(self.problems))


class StartError(OpenClawError):
    """
    The gateway cannot start.

    @ivar exit_code: exit status of the process; L{EXIT_CONFIG} where a supervisor must not try again.
    """

    default_code: ClassVar[str | None] = "start_failed"

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StoreError(OpenClawError):
    """The durable state cannot be read or written; what was acknowledged before is safe."""

    http_status = 503
    default_code: ClassVar[str | None] = "store_unavailable"


class RequestError(OpenClawError):
    """The request cannot be served as it is."""

    http_status = 400
    wire_type = "invalid_request_error"
    default_code: ClassVar[str | None] = None
    retry_useless = True


class InvalidRequest(RequestError):
    """Bad JSON, a value of a wrong type or out of range, or a request that means nothing."""


class ModelNotFound(InvalidRequest):
    """The C{model} or agent that was asked for does not exist."""

    default_code: ClassVar[str | None] = "model_not_found"


class ContextTooLong(InvalidRequest):
    """The conversation does not fit into the model's context window."""

    default_code: ClassVar[str | None] = "context_length_exceeded"


class Unauthorized(RequestError):
    """
    No credential, or a wrong one.

    @ivar delay_s: seconds to wait before the answer is sent; slows down guessing from this machine.
    """

    http_status = 401
    wire_type = "unauthorized"
    default_code: ClassVar[str | None] = "invalid_api_key"

    def __init__(self, message: str, *, delay_s: float = 0.0) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class Forbidden(RequestError):
    """
    The caller is known, or need not be, and may not do this.

    @param wire_type: the C{type} on the wire where it is not C{forbidden}.
    """

    http_status = 403
    wire_type = "forbidden"
    default_code: ClassVar[str | None] = "forbidden"

    def __init__(self, message: str, *, code: str | None = None, wire_type: str | None = None) -> None:
        super().__init__(message, code=code)
        if wire_type is not None:
            self.wire_type = wire_type


class MissingScope(Forbidden):
    """The caller lacks an operator scope."""

    default_code: ClassVar[str | None] = "missing_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"missing scope: {scope}")
        self.scope = scope
        # The original's words.
        self.details = {"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]}


class NotFound(RequestError):
    """There is nothing at this path or under this id."""

    http_status = 404
    default_code: ClassVar[str | None] = "not_found"


class MethodNotAllowed(RequestError):
    """
    The path exists, the method does not.

    @ivar allow: the value of the C{Allow} header.
    """

    http_status = 405
    default_code: ClassVar[str | None] = "method_not_allowed"

    def __init__(self, allow: str) -> None:
        super().__init__(f"method not allowed; use {allow}")
        self.allow = allow


class BodyTimeout(RequestError):
    """The body was not complete in time."""

    http_status = 408
    default_code: ClassVar[str | None] = "request_timeout"
    retry_useless = False


class BodyTooLarge(RequestError):
    """The body is larger than the limit."""

    http_status = 413
    default_code: ClassVar[str | None] = "payload_too_large"


class UnsupportedMedia(RequestError):
    """A browser's simple form post: never a client of ours."""

    http_status = 415
    default_code: ClassVar[str | None] = "unsupported_media_type"


class IdempotencyConflict(RequestError):
    """The C{Idempotency-Key} was used before, for another request."""

    http_status = 422
    default_code: ClassVar[str | None] = "idempotency_conflict"


class ResultNotKept(RequestError):
    """The C{Idempotency-Key} has done its work, and the answer was too large to be kept for a repetition."""

    http_status = 409
    default_code: ClassVar[str | None] = "idempotency_result_too_large"


class LockedOut(RequestError):
    """Too many wrong credentials from this client."""

    http_status = 429
    wire_type = "rate_limited"
    default_code: ClassVar[str | None] = "too_many_auth_failures"
    retry_useless = False


class CapacityError(OpenClawError):
    """The gateway cannot take this request now."""

    http_status = 503


class Overloaded(CapacityError):
    """The queue of waiting runs is full."""

    default_code: ClassVar[str | None] = "overloaded"


class Draining(CapacityError):
    """The gateway is shutting down."""

    default_code: ClassVar[str | None] = "draining"


class RunError(OpenClawError):
    """A run that was started and did not succeed."""


class RunTimeout(RunError):
    """The run took longer than C{agents.defaults.timeoutSeconds}."""

    http_status = 504
    default_code: ClassVar[str | None] = "timeout"


class RunCancelled(RunError):
    """The run was ended by its caller or by the gateway's stop."""

    http_status = 499
    default_code: ClassVar[str | None] = "cancelled"
    retry_useless = True


class ProviderError(OpenClawError):
    """
    The model server did not do its part.

    @ivar transient: true when another attempt at the same provider may succeed before any output was sent.
    @ivar said_status: the HTTP status that the provider itself gave; C{None} if it gave none.
    """

    http_status = 502
    default_code: ClassVar[str | None] = "provider_error"
    transient: ClassVar[bool] = False
    said_status: int | None = None


class ProviderAuthFailed(ProviderError):
    """
    The provider refused our key (401, 403).

    Its status is none of 5xx: those most clients take for a reason to try again for minutes.
    """

    http_status = 424
    default_code: ClassVar[str | None] = "provider_auth_failed"
    retry_useless = True


class ProviderRejected(ProviderError):
    """The provider called the request itself wrong (400, 404, 422); its status is passed on."""

    wire_type = "invalid_request_error"
    default_code: ClassVar[str | None] = None
    retry_useless = True

    def __init__(self, message: str, *, status: int, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.http_status = status


class ProviderModelUnknown(ProviderRejected):
    """The provider does not have the model, or has it no more, whatever status it says so with."""


class ProviderQuota(ProviderError):
    """The account at the provider has no credit left (402, C{insufficient_quota})."""

    http_status = 429
    wire_type = "insufficient_quota"
    default_code: ClassVar[str | None] = "insufficient_quota"
    retry_useless = True


class ProviderRateLimited(ProviderError):
    """The provider asks to slow down (429)."""

    http_status = 429
    wire_type = "rate_limit_error"
    default_code: ClassVar[str | None] = "rate_limit_exceeded"
    transient = True


class ProviderOverloaded(ProviderError):
    """The provider is overloaded (503, 529)."""

    http_status = 503
    default_code: ClassVar[str | None] = "provider_overloaded"
    transient = True


class ProviderTimeout(ProviderError):
    """The provider did not answer, or stopped answering, within its deadline."""

    http_status = 504
    default_code: ClassVar[str | None] = "timeout"


class ProviderFailed(ProviderError):
    """The provider could not be reached, failed, sent garbage or cut its answer off."""

    default_code: ClassVar[str | None] = "provider_error"
    transient = True


class TransientProviderTimeout(ProviderTimeout):
    """A time limit that is worth another attempt: no connection in time, 408, 504."""

    transient: ClassVar[bool] = True


class LastingProviderFailure(ProviderFailed):
    """A failure that another attempt would meet again: garbage, a redirect, a wrong certificate, a bad URL."""

    transient: ClassVar[bool] = False
