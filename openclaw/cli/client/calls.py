"""What commands do with a running gateway; Twisted is imported when they do it, not for their help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from openclaw.cli.client.remote import READER, Introduction, Remote

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

T = TypeVar("T")


def run_connected(
    remote: Remote,
    work: Callable[[GatewayConnection], Awaitable[T]],
    introduction: Introduction = READER,
    *,
    timeout_s: float,
) -> T:
    """
    Connect, do something with the connection, and close it.

    @param timeout_s: for connecting, in seconds.
    @return: what C{work} gives.
    @raise SystemExit: with the status of a signal that came.
    @raise RemoteError: as L{openclaw.cli.client.connection.connect} and what C{work} calls.
    """
    from openclaw.cli.client.connection import connect
    from openclaw.cli.client.loop import run

    results: list[T] = []

    async def connected(reactor: Any) -> int:
        connection = await connect(reactor, remote, introduction, timeout_s=timeout_s)
        try:
            results.append(await work(connection))
        finally:
            await connection.close()
        return 0

    status = run(connected)
    if status:
        raise SystemExit(status)
    return results[0]


def run_call(
    remote: Remote,
    method: str,
    params: Mapping[str, Any] | None = None,
    introduction: Introduction = READER,
    *,
    timeout_s: float,
    expect_final: bool = False,
) -> Any:
    """Connect, call one method, close, and give its answer; errors and signals as of L{run_connected}."""

    async def call(connection: GatewayConnection) -> Any:
        return await connection.call(method, params, timeout_s=timeout_s, expect_final=expect_final)

    return run_connected(remote, call, introduction, timeout_s=timeout_s)
