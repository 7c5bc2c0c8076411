"""
What a gateway must stand: C{python -m benchmarks.endurance crowd} and C{... soak}.

C{crowd}: a thousand slow streams at once, and then the same beside a thousand clients that stop reading.
C{soak}: a mix of everything for half an hour, at the end of which the process must be as it was.

Both start a gateway and a model server of their own, print one line of JSON for each part, and exit 1 when a goal is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stamping import serve_stamped
from benchmarks.stats import choose_cores, process_use, quantile
from benchmarks.targets import Target, ours, started

GOAL_LATE_MS = 50.0
"""How late the 99th of a hundred chunks may be."""

GOAL_STREAM_KIB = 60.0
"""Memory that one stream may take."""

GOAL_STALLED_KIB = 256.0
"""Memory that one client may take that does not read (contract, section 7)."""

GOAL_SLOPE_PERCENT = 2.0
"""How much a process may grow in half an hour, from its first quarter to its last."""

PAUSE_MS = 100
_STAMP = re.compile(rb'"content":"(\d+) ')
REQUEST_S = 120.0
SETTLE_S = 5.0
ARRIVAL_S = 5.0
"""Over how long the streams of a crowd begin, so that they are not all in step."""


class Client:
    """
    One connection for one request.

    @ivar late_s: how late each chunk came.
    """

    def __init__(self, port: int, token: str, counts: Counter[str]) -> None:
        self._port = port
        self._token = token
        self._counts = counts
        self.late_s: list[float] = []

    async def open(self, text: str, *, buffer: int | None = None, **fields: Any) -> asyncio.StreamReader:
        """
        Send a request; the answer's head is read.

        @param buffer: bytes that this end takes without reading; the system's default takes megabytes.
        """
        connection = socket.socket()
        connection.setblocking(False)
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._port))
        self.reader, self.writer = await asyncio.open_connection(sock=connection, limit=buffer or 65_536)
        body = json.dumps({"model": "openclaw", "messages": [{"role": "user", "content": text}], **fields}).encode()
        self.writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self.reader

    def close(self) -> None:
        """Leave."""
        self.writer.close()

    async def stream(self, text: str, **fields: Any) -> None:
        """Read a stream to its end, and note how late its chunks are."""
        kind = "failed"
        said = bytearray()
        try:
            async with asyncio.timeout(REQUEST_S):
                reader = await self.open(text, stream=True, **fields)
                while data := await reader.read(65_536):
                    now_s = time.monotonic()
                    # A chunk is never cut in two here: each is far smaller than a segment.
                    self.late_s += [now_s - int(stamp) / 1e6 for stamp in _STAMP.findall(data)]
                    said = (said + data)[-64:]
                kind = "good" if b"data: [DONE]\n" in said else "failed: cut off"
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            kind = f"failed: {type(error).__name__}"
        finally:
            with contextlib.suppress(AttributeError):
                self.close()
        self._counts[kind] += 1


def rss_kib(pid: int) -> float:
    """Memory of the gateway, in KiB."""
    use = process_use(pid)
    assert use is not None
    return use.rss_mb * 1024


def descriptors(pid: int) -> int:
    """How many files and sockets the gateway has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def tell(**figures: Any) -> None:
    """Print one line."""
    print(json.dumps({name: round(v, 2) if isinstance(v, float) else v for name, v in figures.items()}), flush=True)


class Trial:
    """One gateway under load; collects the goals that were missed."""

    def __init__(self, target: Target, pid: int) -> None:
        self._target = target
        self.pid = pid
        self.missed: list[str] = []

    def client(self, counts: Counter[str]) -> Client:
        """A client that is to make one request."""
        return Client(self._target.port, self._target.token, counts)

    def must(self, condition: bool, text: str) -> None:
        """Note a goal."""
        if not condition:
            self.missed.append(text)

    def _cpu_s(self) -> float:
        use = process_use(self.pid)
        assert use is not None
        return use.cpu_s

    async def crowd(self, size: int, chunks: int, stalled: int) -> None:
        """
        So many slow streams at once.

        @param stalled: how many more clients begin a large stream and do not read it.
        """
        counts: Counter[str] = Counter()
        before = rss_kib(self.pid)
        idle = [self.client(Counter()) for _ in range(stalled)]
        await asyncio.gather(*(one.open("chunks=4000 big=1000", buffer=4096, stream=True) for one in idle))
        # Until all of them are stuck.
        await asyncio.sleep(SETTLE_S if idle else 0)
        clients = [self.client(counts) for _ in range(size)]

        async def begin(number: int, client: Client) -> None:
            await asyncio.sleep(ARRIVAL_S * number / size)
            await client.stream(f"chunks={chunks} pause={PAUSE_MS}")

        streams = [asyncio.create_task(begin(number, client)) for number, client in enumerate(clients)]
        await asyncio.sleep(ARRIVAL_S + 0.6 * chunks * PAUSE_MS / 1000)
        peak = rss_kib(self.pid)
        cpu_s, own_s = self._cpu_s(), time.process_time()
        await asyncio.sleep(2)
        cpu_s, own_s = self._cpu_s() - cpu_s, time.process_time() - own_s
        await asyncio.gather(*streams)
        for client in idle:
            client.close()
        late_ms = [second * 1000 for client in clients for second in client.late_s]
        p99 = quantile(late_ms, 0.99) or 0.0
        each_kib = (peak - before) / (size + stalled)
        tell(
            part=f"{size} slow streams" + (f" beside {stalled} clients that do not read" if stalled else ""),
            chunks=len(late_ms),
            late_ms_p50=quantile(late_ms, 0.5),
            late_ms_p99=p99,
            late_ms_max=max(late_ms, default=0.0),
            kib_each=each_kib,
            gateway_cpu_percent=50 * cpu_s,
            load_cpu_percent=50 * own_s,
            outcomes=dict(counts),
        )
        self.must(counts == {"good": size}, f"streams that failed: {dict(counts)}")
        self.must(len(late_ms) == size * chunks, f"{len(late_ms)} chunks of {size * chunks}")
        self.must(p99 <= GOAL_LATE_MS, f"the 99th chunk of 100 is {p99:.0f} ms late, goal {GOAL_LATE_MS:g}")
        goal_kib = GOAL_STALLED_KIB if stalled else GOAL_STREAM_KIB
        self.must(each_kib <= goal_kib, f"{each_kib:.0f} KiB for each client, goal {goal_kib:g}")

    async def soak(self, seconds: float, users: int, seed: int) -> None:
        """Everything at once for so long: streams, whole answers, sessions, failures, clients that leave."""
        chance = random.Random(seed)
        counts: Counter[str] = Counter()
        until_s = time.monotonic() + seconds
        sizes: list[tuple[float, float, int]] = []

        async def user(number: int) -> None:
            while time.monotonic() < until_s:
                await self._one_request(number, chance, counts)

        async def watch() -> None:
            while time.monotonic() < until_s:
                sizes.append((time.monotonic(), rss_kib(self.pid), descriptors(self.pid)))
                await asyncio.sleep(max(seconds / 400, 0.5))

        await asyncio.gather(watch(), *(user(number) for number in range(users)))
        await asyncio.sleep(2)
        quarter = max(len(sizes) // 4, 1)
        # The first eighth is warming up: caches and connections that every gateway has after a while.
        early = [size for _, size, _ in sizes[quarter // 2 : quarter + quarter // 2]]
        late = [size for _, size, _ in sizes[-quarter:]]
        slope = 100 * (sum(late) / len(late) / (sum(early) / len(early)) - 1)
        left = descriptors(self.pid)
        tell(
            part=f"soak of {seconds:g} s with {users} users, seed {seed}",
            requests=sum(counts.values()),
            outcomes=dict(counts),
            rss_mb_early=sum(early) / len(early) / 1024,
            rss_mb_late=sum(late) / len(late) / 1024,
            slope_percent=slope,
            descriptors_at_first=sizes[0][2],
            descriptors_at_last=left,
        )
        self.must(slope <= GOAL_SLOPE_PERCENT, f"memory grew by {slope:.1f} %, goal {GOAL_SLOPE_PERCENT:g}")
        self.must(left <= sizes[0][2] + 20, f"{left} descriptors are open, {sizes[0][2]} were at the start")
        self.must(not any(kind.startswith("wrong") for kind in counts), f"wrong answers: {dict(counts)}")

    async def _one_request(self, number: int, chance: random.Random, counts: Counter[str]) -> None:
        client = self.client(counts)
        kind = chance.choice(("stream", "stream", "whole", "session", "leave", "fail", "die", "retry"))
        try:
            async with asyncio.timeout(REQUEST_S):
                if kind == "stream":
                    await client.stream(f"chunks={chance.randrange(1, 60)} pause={chance.choice((0, 0, 5))}")
                    return
                if kind == "leave":
                    await client.open("chunks=200 pause=20", stream=True)
                    await asyncio.sleep(chance.random() / 5)
                    counts["left"] += 1
                    return
                text, fields, status = self._whole(kind, number, chance)
                reader = await client.open(text, **fields)
                await reader.read()
                got = int(client.head.split(b" ")[1])
                counts[f"{kind} {got}" if got in status else f"wrong: {kind} {got}"] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            counts[f"wrong: {kind} {type(error).__name__}"] += 1
        finally:
            with contextlib.suppress(AttributeError):
                client.close()

    @staticmethod
    def _whole(kind: str, number: int, chance: random.Random) -> tuple[str, dict[str, Any], Sequence[int]]:
        """A request that is not streamed: its message, its fields, the statuses that are right."""
        if kind == "session":
            # A session is changed after a while, else its prompt would be what grows.
            return "chunks=5", {"user": f"u{number}-{int(time.monotonic()) // 20}"}, (200,)
        if kind == "fail":
            return f"fail={chance.choice((400, 401, 429, 404))}", {}, (400, 404, 424, 429)
        if kind == "die":
            return "chunks=9 die=3", {}, (502,)
        return f"chunks={chance.randrange(1, 40)}", {}, (200,)


async def _run(options: argparse.Namespace) -> list[str]:
    server, model_port = await serve_stamped()
    pinning = choose_cores(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="openclaw-endurance-") as folder:
        target = ours(Path(folder), model_port, options.ours)
        document = json.loads((config := Path(target.environment["OPENCLAW_CONFIG_PATH"])).read_text())
        document["agents"]["defaults"] |= {"maxConcurrent": 4096, "maxQueued": 8192}
        config.write_text(json.dumps(document))
        running = started(target, pinning.target, Path(folder) / "log")
        gateway = await asyncio.to_thread(running.__enter__)
        os.sched_setaffinity(0, {pinning.load})
        try:
            trial = Trial(target, gateway.pid)
            warm: Counter[str] = Counter()
            await asyncio.gather(*(trial.client(warm).stream("chunks=5") for _ in range(50)))
            if options.part == "crowd":
                await trial.crowd(options.size, options.chunks, 0)
                await asyncio.sleep(1)
                await trial.crowd(options.size // 2, options.chunks, options.size)
            else:
                await trial.soak(options.seconds, options.users, options.seed)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    server.close()
    return trial.missed


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: the arguments; L{None} takes the process's.
    @return: the exit status: 1 when a goal was missed.
    """
    made = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    made.add_argument("part", choices=("crowd", "soak"))
    made.add_argument("--size", type=int, default=1000, help="streams at once (at most 1000)")
    made.add_argument("--chunks", type=int, default=100, help="events of each slow stream")
    made.add_argument("--seconds", type=float, default=1800.0, help="length of the soak (at most 3600)")
    made.add_argument("--users", type=int, default=16, help="users of the soak, each with one request at a time")
    made.add_argument("--seed", type=int, default=1, help="chooses the soak's requests")
    made.add_argument("--ours", metavar="COMMAND", default="", help="how openclaw is run")
    options = made.parse_args(argv)
    if not (1 < options.size <= 1000 and 0 < options.seconds <= 3600 and 0 < options.users <= 200):
        made.error("these bounds keep the machine usable: size 2 to 1000, seconds to 3600, users to 200")
    missed = asyncio.run(_run(options))
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
