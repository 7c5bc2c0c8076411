"""The headers of an answer that tell of its run: which it is, in which session, and where its time went."""

from __future__ import annotations

import re

from openclaw.events import Timings
from openclaw.http.connection.request import GatewayRequest

_TIMING_UNSAFE = re.compile(r'[^!-~]|["\\\\]')


def run_headers(request: GatewayRequest, run_id: str, session_key: str, timings: Timings | None) -> None:
    """
    Tell in headers which run and session this is, and where its time went, as far as that is known.

    @param session_key: the session's full key.
    @param timings: C{None} if the run was not placed, or if it is not this request that it has worked for.
    """
    headers = request.responseHeaders
    headers.setRawHeaders(b"X-OpenClaw-Run-Id", [run_id.encode()])
    headers.setRawHeaders(b"X-OpenClaw-Session-Key", [session_key.encode()])
    timing = "" if timings is None else server_timing(timings)
    if timing:
        headers.setRawHeaders(b"Server-Timing", [timing.encode()])


def server_timing(timings: Timings) -> str:
    """The value of C{Server-Timing}, milliseconds; after several calls of models, how many, and which one answered."""
    durations: list[tuple[str, float]] = []
    if timings.admitted is not None and timings.let_in is not None and timings.placed is not None:
        prepare_s = (timings.admitted - timings.received) + (timings.placed - timings.let_in)
        durations += (("prepare", prepare_s), ("queue", timings.let_in - timings.admitted + timings.paced_s))
        if timings.first_output is not None:
            durations.append(("provider-first-byte", timings.first_output - timings.placed - timings.paced_s))
    parts = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in durations]
    if timings.attempts > 1:
        parts.append(f'attempts;desc="{timings.attempts}"')
        if timings.model_ref is not None:
            parts.append(f'model;desc="{_TIMING_UNSAFE.sub("_", timings.model_ref)}"')
    return ", ".join(parts)
