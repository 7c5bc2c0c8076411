"""L{benchmarks.load} and L{benchmarks.http_reader}: what counts events and failures must itself be right."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from typing import Any
from unittest import mock

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import load, model_server, stats, targets
from benchmarks.http_reader import MAX_HEAD_BYTES, ResponseError, ResponseReader
from benchmarks.load import Endpoint, LoadConnection, Outcome, Plan, PlanError, Result, Run
from benchmarks.stats import Spread


class FakeTransport:
    """What the connections need of an asyncio transport."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


def read_all(data: bytes, *, stream: bool = True) -> ResponseReader:
    reader = ResponseReader(stream=stream)
    assert reader.feed(data), data
    return reader


class ResponseReaderTests(SynchronousTestCase):
    """Reading responses and counting events."""

    STREAM = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"a\r\ndata: a\n\nd\r\n5\r\nata: \r\n3;x=y\r\nb\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    )

    def test_events_across_chunks_and_reads(self) -> None:
        for size in (1, 2, 3, 7, 1000):
            reader = ResponseReader(stream=True)
            pieces = [self.STREAM[at : at + size] for at in range(0, len(self.STREAM), size)]
            self.assertEqual([reader.feed(piece) for piece in pieces], [False] * (len(pieces) - 1) + [True])
            self.assertEqual((reader.status, reader.events, reader.body_bytes), (200, 3, 32))
            self.assertTrue(reader.done)
            self.assertTrue(reader.keep_alive)
            self.assertEqual(reader.body, b"")

    def test_done_must_be_last(self) -> None:
        reader = read_all(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\ndata: [DONE]\n\ndata: {}\n\n")
        self.assertFalse(reader.done)

    def test_streamed_error(self) -> None:
        reader = ResponseReader(stream=True)
        self.assertFalse(reader.feed(b'HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\ndata: {"err'))
        self.assertFalse(reader.failed)
        self.assertTrue(reader.feed(b'or":1}\n\ndata: [DONE]'))
        self.assertTrue(reader.failed)

    def test_whole_body(self) -> None:
        reader = ResponseReader(stream=False)
        self.assertFalse(reader.feed(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\ncontent-length: 4\r\n\r\nab"))
        self.assertTrue(reader.feed(b"cd"))
        self.assertEqual((reader.status, reader.body, reader.keep_alive), (404, b"abcd", False))
        self.assertFalse(reader.eof())

    def test_until_the_end(self) -> None:
        reader = ResponseReader(stream=False)
        self.assertFalse(reader.eof())
        self.assertFalse(reader.feed(b"HTTP/1.0 200 OK\r\n\r\nab"))
        self.assertTrue(reader.eof())
        self.assertFalse(reader.keep_alive)

    def test_bad_responses(self) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data, message in (
            (b"SSH-2.0-x\r\n\r\n", "not an HTTP/1 response: b'SSH-2.0-x'"),
            (b"HTTP/1.1 abc\r\n\r\n", "not an HTTP/1 response: b'HTTP/1.1 abc'"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content-length: expected a number, got b'-1'"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "bytes after the response"),
            (b"x" * (MAX_HEAD_BYTES + 1), "the response head is too large"),
            (chunked + b"zz\r\n", "not a chunk size: b'zz'"),
            (chunked + b"-1\r\n", "a chunk of -1 bytes is out of bounds"),
            (chunked + b"fffffff\r\n", "a chunk of 268435455 bytes is out of bounds"),
            (chunked + b"1\r\nabcd", "a chunk is longer than it says, or the body has trailers"),
            (chunked + b"0\r\n\r\nx", "bytes after the response"),
        ):
            error = self.assertRaises(ResponseError, ResponseReader(stream=False).feed, data)
            self.assertEqual(str(error), message)

    def test_body_bound(self) -> None:
        reader = ResponseReader(stream=False)
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
        with mock.patch("benchmarks.http_reader.MAX_BODY_BYTES", 3):
            error = self.assertRaises(ResponseError, reader.feed, b"abcd")
        self.assertEqual(str(error), "the body is larger than 3 bytes")


class PlanTests(SynchronousTestCase):
    """What may be loaded, and how a reply is judged."""

    HERE = Endpoint(host="127.0.0.1", port=1, path="/v1")

    def test_loopback_urls(self) -> None:
        for url, endpoint in (
            ("http://127.0.0.1:18789/v1/chat/completions", ("127.0.0.1", 18789, "/v1/chat/completions")),
            ("http://localhost", ("127.0.0.1", 80, "/")),
            ("http://[::1]:8/x", ("::1", 8, "/x")),
            ("http://127.9.9.9:8/x", ("127.9.9.9", 8, "/x")),
        ):
            self.assertEqual(Endpoint.from_url(url), Endpoint(*endpoint))

    def test_other_hosts_are_refused(self) -> None:
        for url, message in (
            ("http://192.0.2.1/v1", "url: only loopback may be loaded, not '192.0.2.1'"),
            ("http://example.com/v1", "url: only loopback may be loaded, not 'example.com'"),
            ("http://127.0.0.1@example.com/v1", "url: only loopback may be loaded, not 'example.com'"),
            ("http://127.0.0.1.example.com/", "url: only loopback may be loaded, not '127.0.0.1.example.com'"),
            ("http:///v1", "url: only loopback may be loaded, not ''"),
            ("http://0.0.0.0/v1", "url: only loopback may be loaded, not '0.0.0.0'"),
            ("https://127.0.0.1/v1", "url: expected http://, got 'https://127.0.0.1/v1'"),
            ("http://127.0.0.1:99999/", "url: Port out of range 0-65535"),
        ):
            self.assertEqual(str(self.assertRaises(PlanError, Endpoint.from_url, url)), message)
        elsewhere = Endpoint(host="192.0.2.1", port=1, path="/")
        self.assertRaises(PlanError, Plan, endpoint=elsewhere)

    def test_bounds(self) -> None:
        for name, value, message in (
            ("n", 0, "n: expected 1 to 100000, got 0"),
            ("n", 100_001, "n: expected 1 to 100000, got 100001"),
            ("concurrency", 1001, "concurrency: expected 1 to 1000, got 1001"),
            ("warmup", -1, "warmup: expected 0 to 100000, got -1"),
            ("budget_s", 0, "budget_s: expected 0.001 to 3600.0, got 0"),
            ("request_timeout_s", 1e9, "request_timeout_s: expected 0.001 to 3600.0, got 1000000000.0"),
            ("token", "a\r\nb", "token: expected visible ASCII characters"),
        ):
            error = self.assertRaises(PlanError, Plan, endpoint=self.HERE, **{name: value})
            self.assertEqual(str(error), message)

    def test_request(self) -> None:
        head, _, body = Plan(endpoint=self.HERE, token="t", prompt="ä").request().partition(b"\r\n\r\n")
        self.assertEqual(
            head.decode().split("\r\n"),
            [
                "POST /v1 HTTP/1.1",
                "Host: 127.0.0.1:1",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                "Authorization: Bearer t",
            ],
        )
        self.assertEqual(
            json.loads(body), {"model": "openclaw", "stream": False, "messages": [{"role": "user", "content": "ä"}]}
        )
        six = Plan(endpoint=Endpoint("::1", 8, "/")).request()
        self.assertIn(b"\r\nHost: [::1]:8\r\n", six)
        self.assertNotIn(b"Authorization", six)

    def test_judge(self) -> None:
        stream = Plan(endpoint=self.HERE, stream=True, min_events=2)
        whole = Plan(endpoint=self.HERE, expect_text="w1.0")
        for plan, status, body, problem in (
            (stream, 200, b"data: 1\n\ndata: [DONE]\n\n", ""),
            (stream, 500, b"data: 1\n\ndata: [DONE]\n\n", "status 500"),
            (stream, 200, b"data: 1\n\ndata: 2\n\n", "the stream ended without [DONE]"),
            (stream, 200, b"data: [DONE]\n\n", "1 events instead of at least 2"),
            (stream, 200, b'data: {"error":1}\n\ndata: [DONE]\n\n', "an error in the stream"),
            (whole, 200, b"w0.0 w1.0", ""),
            (whole, 200, b"w0.0", "the body lacks 'w1.0'"),
        ):
            reply = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            self.assertEqual(plan.judge(read_all(reply, stream=plan.stream)), problem)

    def test_summary(self) -> None:
        outcomes = [Outcome("", 0.001, 0.002, 10), Outcome("", None, 0.004, 10), Outcome("x", None, 9.0, 5)]
        plan = Plan(endpoint=self.HERE, stream=True)
        result = load.summarise(plan, outcomes, 2.0, stats.ProcessUse(1.0, 5), stats.ProcessUse(1.006, 7))
        self.assertEqual(
            result,
            Result(
                n=3, failed=1, concurrency=8, stream=True, wall_s=2.0, rps=1.0, events_per_s=10,
                first_ms=Spread(1.0, 1.0), total_ms=Spread(4.0, 4.0), cpu_ms_per_request=2.0, rss_mb=7,
                problems={"x": 1},
            ),
        )  # fmt: skip
        self.assertIsNone(load.summarise(plan, outcomes, 2.0, None, None).cpu_ms_per_request)


class LoadConnectionTests(SynchronousTestCase):
    """One connection of the load, without a socket."""

    GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def begin(self, **settings: Any) -> None:
        self.clock = Clock()
        plan = Plan(endpoint=PlanTests.HERE, **{"n": 2, "expect_text": "ok", **settings})
        self.run_ = Run(plan, self.clock.seconds)
        self.assertTrue(self.run_.may_begin())
        self.closed: list[bool] = []
        self.connection = LoadConnection(self.run_, lambda: self.closed.append(True))
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.assertEqual(self.transport.take(), plan.request())

    def problems(self) -> list[str]:
        return [outcome.problem for outcome in self.run_.outcomes]

    def test_keep_alive_until_all_are_made(self) -> None:
        self.begin()
        self.clock.advance(1)
        self.connection.data_received(self.GOOD[:20])
        self.clock.advance(1)
        self.connection.data_received(self.GOOD[20:-1])
        self.clock.advance(1)
        self.connection.data_received(self.GOOD[-1:])
        self.assertEqual(self.run_.outcomes, [Outcome("", 2.0, 3.0, 0)])
        self.assertEqual(self.transport.take(), self.run_.request)
        self.connection.data_received(self.GOOD)
        self.assertEqual(self.problems(), ["", ""])
        self.assertTrue(self.transport.closing)
        self.assertFalse(self.transport.aborted)
        self.connection.data_received(b"x")
        self.assertTrue(self.transport.aborted)
        self.connection.connection_lost(None)
        self.assertEqual((self.closed, len(self.run_.outcomes)), ([True], 2))

    def test_budget(self) -> None:
        self.begin(n=9, budget_s=5)
        self.clock.advance(6)
        self.connection.data_received(self.GOOD)
        self.assertTrue(self.transport.closing)

    def test_no_keep_alive(self) -> None:
        self.begin()
        self.connection.data_received(self.GOOD.replace(b"OK", b"OK\r\nConnection: close"))
        self.assertTrue(self.transport.closing)
        self.assertEqual(self.problems(), [""])

    def test_cut(self) -> None:
        self.begin()
        self.connection.data_received(self.GOOD[:-1])
        self.connection.connection_lost(None)
        self.assertEqual(self.problems(), ["the connection was cut"])

    def test_answer_that_ends_with_the_connection(self) -> None:
        self.begin()
        self.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nok")
        self.connection.connection_lost(None)
        self.assertEqual(self.problems(), [""])

    def test_nonsense(self) -> None:
        self.begin()
        self.connection.data_received(b"nonsense\r\n\r\n")
        self.assertEqual(self.problems(), ["not an HTTP/1 response: b'nonsense'"])
        self.assertTrue(self.transport.aborted)

    def test_give_up(self) -> None:
        self.begin()
        self.clock.advance(1)
        self.connection.give_up("timed out", 2)
        self.assertEqual(self.problems(), [])
        self.clock.advance(1)
        self.connection.give_up("timed out", 2)
        self.connection.give_up("timed out", 2)
        self.assertEqual(self.problems(), ["timed out"])
        self.assertTrue(self.transport.aborted)


async def with_server(use: Any) -> Any:
    """Run C{use(port)} while a model server runs in the same loop."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(model_server.serve(0, port.set_result))
    try:
        return await use(await port)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def endpoint(port: int) -> Endpoint:
    return Endpoint(host="127.0.0.1", port=port, path="/v1/chat/completions")


class LoopbackTests(SynchronousTestCase):
    """The pieces against each other; these use real sockets on loopback."""

    def test_loopback_load_on_the_model_server(self) -> None:
        async def use(port: int) -> list[Result]:
            short = Plan(endpoint=endpoint(port), stream=True, n=20, concurrency=4, min_events=20)
            long = Plan(endpoint=endpoint(port), stream=True, n=3, concurrency=2, prompt="chunks=5000", min_events=5000)
            whole = Plan(endpoint=endpoint(port), n=5, concurrency=8, warmup=0, expect_text="w19.0")
            return [await load.run_load(short, os.getpid()), await load.run_load(long), await load.run_load(whole)]

        short, long, whole = asyncio.run(with_server(use))
        self.assertEqual([result.n for result in (short, long, whole)], [20, 3, 5])
        self.assertEqual([result.failed for result in (short, long, whole)], [0, 0, 0])
        self.assertApproximates(short.events_per_s, 23 * short.rps, 23)
        self.assertIsNotNone(short.cpu_ms_per_request)
        self.assertIsNone(whole.rss_mb)
        assert short.first_ms.p50 is not None and short.total_ms.p99 is not None
        self.assertLessEqual(short.first_ms.p50, short.total_ms.p99)

    def test_loopback_failures_are_told(self) -> None:
        async def use(port: int) -> list[Result]:
            timed = Plan(
                endpoint=endpoint(port), stream=True, n=1, warmup=0, prompt="chunks=1 delay=9000", request_timeout_s=0.2
            )
            missing = msgspec.structs.replace(timed, endpoint=Endpoint("127.0.0.1", port, "/no"), n=2, warmup=1)
            refused = msgspec.structs.replace(timed, endpoint=endpoint(targets.free_port()))
            with mock.patch.object(load, "_SWEEP_S", 0.05):
                return [await load.run_load(plan) for plan in (timed, missing, refused)]

        timed, missing, refused = asyncio.run(with_server(use))
        self.assertEqual((timed.failed, timed.problems), (1, {"timed out": 1}))
        self.assertEqual((missing.n, missing.failed, missing.problems), (2, 3, {"status 404": 3}))
        self.assertEqual(refused.failed, 1)
        self.assertIn("connect: ", next(iter(refused.problems)))

    def test_loopback_cancelling_a_load(self) -> None:
        async def use(port: int) -> int:
            plan = Plan(endpoint=endpoint(port), stream=True, n=4, warmup=0, prompt="chunks=2 delay=9000")
            task = asyncio.create_task(load.run_load(plan))
            url = f"http://127.0.0.1:{port}/stats"

            async def active() -> int:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET /stats HTTP/1.1\r\nHost: {url}\r\n\r\n".encode())
                await reader.readuntil(b"\r\n\r\n")
                counts = json.loads(await reader.readuntil(b"}"))
                writer.close()
                return int(counts["active"])

            async with asyncio.timeout(5):
                while await active() < 4:
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                while left := await active():
                    await asyncio.sleep(0)
            return left

        self.assertEqual(asyncio.run(with_server(use)), 0)

    def test_loopback_command_line(self) -> None:
        output = io.StringIO()

        def run(port: int) -> None:
            with contextlib.redirect_stdout(output):
                url = f"http://127.0.0.1:{port}/v1/chat/completions"
                self.status = load.main(["--url", url, "--stream", "-n", "3", "--warmup", "0", "--pid", "0"])

        async def use(port: int) -> None:
            await asyncio.get_running_loop().run_in_executor(None, run, port)

        asyncio.run(with_server(use))
        result = json.loads(output.getvalue())
        self.assertEqual((self.status, result["n"], result["failed"]), (0, 3, 0))

    def test_command_line_refuses_other_hosts(self) -> None:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            stop = self.assertRaises(SystemExit, load.main, ["--url", "http://192.0.2.1/"])
        self.assertEqual(stop.code, 2)
        self.assertIn("only loopback may be loaded, not '192.0.2.1'", errors.getvalue())
