"""
A bounded load on a chat-completions endpoint of this machine.

Run it alone with C{python -m benchmarks.load --url http://127.0.0.1:18789/v1/chat/completions --token T}; it prints
one line of JSON, a L{Result}, and exits 1 when a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.http_reader import ResponseError, ResponseReader
from benchmarks.stats import ProcessUse, Spread, process_use, spread

MAX_REQUESTS = 100_000
MAX_CONCURRENCY = 1_000
MAX_SECONDS = 3_600.0
_SWEEP_S = 0.5


class PlanError(ValueError):
    """A load that is not allowed; the message names the setting."""


class Endpoint(msgspec.Struct, frozen=True):
    """
    Where the load goes.

    @ivar host: a loopback address.
    @ivar port: its TCP port.
    @ivar path: the request path.
    """

    host: str
    port: int
    path: str

    @classmethod
    def from_url(cls, url: str) -> Endpoint:
        """
        @param url: C{http://127.0.0.1:18789/v1/chat/completions}; C{localhost} means 127.0.0.1.
        @raise PlanError: when it is no http URL or leaves this machine.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise PlanError(f"url: {error}") from None
        if parts.scheme != "http":
            raise PlanError(f"url: expected http://, got {url!r}")
        return cls(host=loopback_address(host), port=port, path=parts.path or "/")


def loopback_address(host: str) -> str:
    """
    @param host: an address or C{localhost}.
    @return: the address.
    @raise PlanError: when it is not on this machine's loopback: this tool must never load somebody else's.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise PlanError(f"url: only loopback may be loaded, not {host!r}")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A load.

    @ivar endpoint: where it goes.
    @ivar token: the bearer token; empty sends none.
    @ivar model: the C{model} of the requests.
    @ivar prompt: the user message, which steers the model server (L{benchmarks.model_server}).
    @ivar stream: ask for a stream.
    @ivar n: how many requests.
    @ivar concurrency: how many connections, each with one request at a time.
    @ivar warmup: requests made beforehand, one at a time, that are not counted unless one fails.
    @ivar min_events: a stream with fewer events is a failure.
    @ivar expect_text: a body that is not a stream and lacks this is a failure.
    @ivar request_timeout_s: a request that takes longer is a failure.
    @ivar budget_s: after this no new request is begun, so that a slow target ends, too.
    """

    endpoint: Endpoint
    token: str = ""
    model: str = "openclaw"
    prompt: str = "chunks=20"
    stream: bool = False
    n: int = 200
    concurrency: int = 8
    warmup: int = 3
    min_events: int = 0
    expect_text: str = ""
    request_timeout_s: float = 120.0
    budget_s: float = 60.0

    def __post_init__(self) -> None:
        loopback_address(self.endpoint.host)
        for name, value, low, high in (
            ("n", self.n, 1, MAX_REQUESTS),
            ("concurrency", self.concurrency, 1, MAX_CONCURRENCY),
            ("warmup", self.warmup, 0, MAX_REQUESTS),
            ("request_timeout_s", self.request_timeout_s, 0.001, MAX_SECONDS),
            ("budget_s", self.budget_s, 0.001, MAX_SECONDS),
        ):
            if not low <= value <= high:
                raise PlanError(f"{name}: expected {low} to {high}, got {value}")
        for name, text in (("token", self.token), ("path", self.endpoint.path)):
            if not (text.isascii() and text.isprintable()) or " " in text:
                raise PlanError(f"{name}: expected visible ASCII characters")

    def request(self) -> bytes:
        """The request, head and body, the same each time."""
        body = msgspec.json.encode(
            {"model": self.model, "stream": self.stream, "messages": [{"role": "user", "content": self.prompt}]}
        )
        host = f"[{self.endpoint.host}]" if ":" in self.endpoint.host else self.endpoint.host
        lines = [
            f"POST {self.endpoint.path} HTTP/1.1",
            f"Host: {host}:{self.endpoint.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def judge(self, reader: ResponseReader) -> str:
        """
        @param reader: a response that is whole.
        @return: what is wrong with it; empty when it is good.
        """
        if reader.status != 200:
            return f"status {reader.status}"
        if not self.stream:
            return "" if self.expect_text.encode() in reader.body else f"the body lacks {self.expect_text!r}"
        if reader.failed:
            return "an error in the stream"
        if not reader.done:
            return "the stream ended without [DONE]"
        if reader.events < self.min_events:
            return f"{reader.events} events instead of at least {self.min_events}"
        return ""


class Outcome(msgspec.Struct, frozen=True):
    """
    How one request went.

    @ivar problem: what was wrong with it; empty when it was good.
    @ivar first_s: until the first byte of the answer, L{None} when none came.
    @ivar total_s: until its end.
    @ivar events: events in the answer.
    """

    problem: str
    first_s: float | None
    total_s: float
    events: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a load went; durations and rates are those of the good requests.

    @ivar n: requests that were begun.
    @ivar failed: those of them that failed, warm-up included.
    @ivar problems: what was wrong and how often.
    @ivar rps: good requests per second.
    @ivar first_ms: until the first byte of the answer.
    @ivar total_ms: until its end.
    @ivar events_per_s: events per second, over all connections.
    @ivar cpu_ms_per_request: time of all threads of the measured process, per request.
    @ivar rss_mb: resident memory of the measured process afterwards.
    """

    n: int
    failed: int
    concurrency: int
    stream: bool
    wall_s: float
    rps: float
    first_ms: Spread
    total_ms: Spread
    events_per_s: float
    cpu_ms_per_request: float | None = None
    rss_mb: float | None = None
    problems: dict[str, int] = {}


def summarise(
    plan: Plan, outcomes: Sequence[Outcome], wall_s: float, before: ProcessUse | None, after: ProcessUse | None
) -> Result:
    """
    @param plan: the load.
    @param outcomes: how each of its requests went.
    @param wall_s: how long it took in all.
    @param before: what the measured process had used before, where one was measured.
    @param after: the same afterwards.
    """
    good = [outcome for outcome in outcomes if not outcome.problem]
    cpu = None
    if before is not None and after is not None and outcomes:
        cpu = round((after.cpu_s - before.cpu_s) * 1000 / len(outcomes), 2)
    return Result(
        n=len(outcomes),
        failed=len(outcomes) - len(good),
        concurrency=plan.concurrency,
        stream=plan.stream,
        wall_s=round(wall_s, 3),
        rps=round(len(good) / wall_s, 1),
        first_ms=spread([outcome.first_s for outcome in good if outcome.first_s is not None]),
        total_ms=spread([outcome.total_s for outcome in good]),
        events_per_s=round(sum(outcome.events for outcome in good) / wall_s),
        cpu_ms_per_request=cpu,
        rss_mb=after.rss_mb if after else None,
        problems=dict(Counter(outcome.problem for outcome in outcomes if outcome.problem)),
    )


class Run:
    """
    The requests of a plan under way: hands them out and collects how they went.

    @ivar outcomes: how the finished ones went.
    """

    def __init__(self, plan: Plan, now: Callable[[], float] = time.perf_counter) -> None:
        """
        @param plan: the load.
        @param now: seconds on a clock of arbitrary origin.
        """
        self.plan = plan
        self.now = now
        self.request = plan.request()
        self.outcomes: list[Outcome] = []
        self._begun = 0
        self._started_s = now()

    def may_begin(self) -> bool:
        """Whether there is another request to make, and time for it; counts it as begun."""
        if self._begun >= self.plan.n or self.now() - self._started_s > self.plan.budget_s:
            return False
        self._begun += 1
        return True


class LoadConnection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    transport: Any
    """The asyncio transport (a test's stand-in has no need of the whole interface)."""

    def __init__(self, run: Run, closed: Callable[[], object]) -> None:
        """
        The connection begins with a request that was already counted as begun.

        @param run: where the requests come from.
        @param closed: called once, when the connection is no more.
        """
        self._run = run
        self._closed = closed
        self._reader: ResponseReader | None = None
        self._begun_s = 0.0
        self._first_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer; after its end send the next request."""
        reader = self._reader
        if reader is None:
            self.transport.abort()  # nothing was asked, or the connection is being closed
            return
        try:
            whole = reader.feed(data)
        except ResponseError as error:
            self._finish(str(error))
            self.transport.abort()
            return
        if self._first_s is None and reader.body_bytes:
            self._first_s = self._run.now() - self._begun_s
        if whole:
            self._finish(self._run.plan.judge(reader))
            if reader.keep_alive and self._run.may_begin():
                self._send()
            else:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed, or we did."""
        if self._reader is not None:
            problem = self._run.plan.judge(self._reader) if self._reader.eof() else "the connection was cut"
            self._finish(problem)
        self._closed()

    def give_up(self, problem: str, older_than_s: float = 0.0) -> None:
        """
        Fail the request under way and close the connection at once.

        @param problem: why.
        @param older_than_s: only when the request has been under way for that long.
        """
        if self._reader is not None and self._run.now() - self._begun_s >= older_than_s:
            self._finish(problem)
            self.transport.abort()

    def _send(self) -> None:
        self._reader = ResponseReader(stream=self._run.plan.stream)
        self._first_s = None
        self._begun_s = self._run.now()
        self.transport.write(self._run.request)

    def _finish(self, problem: str) -> None:
        reader, self._reader = self._reader, None
        total_s = self._run.now() - self._begun_s
        self._run.outcomes.append(Outcome(problem, self._first_s, total_s, reader.events if reader else 0))


async def _keep_connected(run: Run, connections: set[LoadConnection]) -> None:
    """Make requests over one connection at a time until there are none left; a closed one is replaced."""
    loop = asyncio.get_running_loop()
    endpoint = run.plan.endpoint
    while run.may_begin():
        closed = asyncio.Event()
        connection = LoadConnection(run, closed.set)
        try:
            async with asyncio.timeout(run.plan.request_timeout_s):
                await loop.create_connection(lambda: connection, endpoint.host, endpoint.port)  # noqa: B023
        except (OSError, TimeoutError) as error:
            run.outcomes.append(Outcome(f"connect: {error or 'timed out'}", None, 0.0, 0))
            continue
        connections.add(connection)
        await closed.wait()
        connections.discard(connection)


async def _run_once(plan: Plan) -> tuple[list[Outcome], float]:
    """The requests of a plan, and how long they took in all, in seconds."""
    run = Run(plan)
    connections: set[LoadConnection] = set()
    started_s = run.now()
    tasks = {asyncio.create_task(_keep_connected(run, connections)) for _ in range(min(plan.concurrency, plan.n))}
    try:
        pending = tasks
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_SWEEP_S)
            for connection in list(connections):
                connection.give_up("timed out", plan.request_timeout_s)
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        for connection in list(connections):
            connection.give_up("the run was stopped")
    return run.outcomes, run.now() - started_s


async def run_load(plan: Plan, pid: int | None = None) -> Result:
    """
    Make the requests of a plan; takes at most C{budget_s} and one C{request_timeout_s}, the warm-up as much again.

    Cancelling it closes the connections.

    @param plan: the load.
    @param pid: the process whose time and memory are told, descendants included.
    """
    warm: list[Outcome] = []
    if plan.warmup:
        warm, _ = await _run_once(msgspec.structs.replace(plan, n=plan.warmup, concurrency=1))
    before = process_use(pid) if pid else None
    outcomes, wall_s = await _run_once(plan)
    result = summarise(plan, outcomes, wall_s, before, process_use(pid) if pid else None)
    problems = Counter(outcome.problem for outcome in warm if outcome.problem)
    return msgspec.structs.replace(
        result, failed=result.failed + problems.total(), problems=dict(problems + Counter(result.problems))
    )


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: the arguments; L{None} takes the process's.
    @return: the exit status: 0, or 1 when a request failed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--url", required=True, help="the endpoint; loopback only")
    parser.add_argument("--token", default="", help="bearer token (default: $OPENCLAW_GATEWAY_TOKEN)")
    parser.add_argument("--model", default="openclaw")
    parser.add_argument("--prompt", default="chunks=20", help="user message (default: %(default)s)")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("-n", type=int, default=200, help="requests (default: %(default)s)")
    parser.add_argument("-c", "--concurrency", type=int, default=8, help="connections (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=3, help="requests beforehand (default: %(default)s)")
    parser.add_argument("--pid", type=int, help="process whose CPU time and memory to tell")
    options = parser.parse_args(argv)
    try:
        plan = Plan(
            endpoint=Endpoint.from_url(options.url),
            token=options.token or os.environ.get("OPENCLAW_GATEWAY_TOKEN", ""),
            model=options.model,
            prompt=options.prompt,
            stream=options.stream,
            n=options.n,
            concurrency=options.concurrency,
            warmup=options.warmup,
        )
    except PlanError as error:
        parser.error(str(error))
    result = asyncio.run(run_load(plan, options.pid))
    print(msgspec.json.encode(result).decode())
    return 1 if result.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
