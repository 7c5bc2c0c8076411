"""How a request may meet another one, and how long its run lasts."""

from __future__ import annotations

from typing import Literal, get_args

import attrs

from openclaw.errors import OpenClawError, RunCancelled
from openclaw.records import KeySurface
from openclaw.sharing.kept import is_final

Lasts = Literal["client", "alone", "forever"]
"""How long a run goes on when nobody reads it; each is longer than the one before."""

LASTING: tuple[Lasts, ...] = get_args(Lasts)
"""The shortest first."""


@attrs.frozen
class Claim:
    """
    How a request may meet an earlier one, and what is to happen when its client leaves.

    @ivar fingerprint: digest of all that makes up the request; C{None} if it is to meet no other.
    @ivar key: the C{Idempotency-Key}.
    @ivar is_retry: the client's library says that it sends this request once more.
    @ivar lasts: the run ends with its last client, or goes on alone for
        L{openclaw.sharing.shared.ALONE_S}, or until it is over.
    @ivar surface: where the key comes from.  One of C{ws} comes with every call, so it is claimed and ended in the
        transactions that store the turn and the answer, and costs none of its own.
    """

    fingerprint: bytes | None = None
    key: str | None = None
    is_retry: bool = False
    lasts: Lasts = "client"
    surface: KeySurface = "http"

    @property
    def comes_with_turn(self) -> bool:
        """Whether the key is claimed and ended together with the turn and its answer."""
        return self.key is not None and self.surface == "ws"

    @property
    def can_be_met(self) -> bool:
        """Whether another request may have to do with the run of this one."""
        return self.fingerprint is not None or self.key is not None or self.lasts != "client"

    def is_final(self, error: OpenClawError) -> bool:
        """
        Whether an error is told to whoever repeats the request, as the result of it.

        Where no client's leaving ends a run, one that was cancelled was meant to be.
        """
        return is_final(error) or (self.lasts == "forever" and isinstance(error, RunCancelled))
