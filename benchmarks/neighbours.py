"""
What a faulty model server costs the sessions of a healthy one: C{python -m benchmarks.neighbours}.

One gateway with two providers.  A few sessions have short turns at the healthy one, first alone, then beside many that
have theirs at the faulty one, each waiting after its answer as a person or a retrying program does.  The faulty server
answers now and then, and else hangs, cuts connections or fails; it can ask to wait, too.  Prints one line of JSON for
each round, and exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.endurance import Client, tell
from benchmarks.stamping import serve_stamped
from benchmarks.stats import choose_cores, quantile
from benchmarks.targets import Target, ours, started

GOAL_RATIO = 1.5
"""How many times as long as alone the slowest of a hundred turns may take."""

GOAL_ADDED_MS = 50.0
"""How much longer besides, in ms."""

FAULTS = ("refuse", "500", "well", "hang", "503", "cut", "well", "429", "garbage", "half")
"""What the faulty server can do."""

USUAL = tuple(fault for fault in FAULTS if fault != "429")
"""What it does, one after the other, where nothing else is wanted; a 429 would hold the crowd back most of the time."""

HANG_S = 10.0
"""How long it says nothing where it hangs."""

FAULTY_PAUSE_S = 3.0
"""How long a session at the faulty server waits before it tries again; a crowd that does not wait is another matter."""

REQUEST_S = 120.0
"""Longest answer of the gateway."""

CHUNKS = 20
"""Events of a healthy turn."""

_BODY = b'{"error":{"message":"out of order"}}'


def answer_of(fault: str) -> bytes:
    """What it writes before it closes the connection."""
    if fault in ("500", "503", "429"):
        wait = b"Retry-After: 2\r\n" if fault == "429" else b""
        head = b"HTTP/1.1 %s No\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        return head % (fault.encode(), wait, len(_BODY)) + _BODY
    if fault == "garbage":
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: {]\n"
    if fault in ("half", "well"):
        event = b'data: {"choices":[{"index":0,"delta":{"content":"ha"},"finish_reason":%b}]}\n\n'
        events = event % b"null" + (event % b'"stop"' + b"data: [DONE]\n\n" if fault == "well" else b"")
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + events
    # Of "refuse", "cut" and "hang" there is none.
    return b""


class FaultyServer:
    """
    A model server that has faults.

    @param faults: of L{FAULTS}.
    @ivar asked: how often it was asked, by what it did.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.asked: Counter[str] = Counter()
        self._faults = faults

    async def serve(self) -> tuple[asyncio.Server, int]:
        """Serve on a free port of loopback; gives the server and its port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        return server, server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            fault = self._faults[self.asked.total() % len(self._faults)]
            self.asked[fault] += 1
            if fault == "refuse":
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0]))
            if fault == "hang":
                with contextlib.suppress(TimeoutError):
                    # Until it is given up.
                    await asyncio.wait_for(reader.read(1), HANG_S)
            writer.write(answer_of(fault))
            await writer.drain()


def with_two_providers(document: dict[str, Any], faulty_port: int) -> dict[str, Any]:
    """
    Make of a gateway's configuration one with a second provider and an agent for each.

    @param document: as of L{benchmarks.targets.gateway_document}.
    """
    providers = document["models"]["providers"]
    faulty = providers["bench"] | {"baseUrl": f"http://127.0.0.1:{faulty_port}/v1"}
    agents = {"healthy": {"model": "bench/m"}, "faulty": {"model": "faulty/m"}}
    defaults = document["agents"]["defaults"] | {"maxConcurrent": 4096, "maxQueued": 8192}
    return document | {
        "models": {"providers": providers | {"faulty": faulty}},
        "agents": {"defaults": defaults | {"systemAgent": {"agentId": "healthy"}}, "entries": agents},
    }


def is_missed(alone_ms: Sequence[float], beside_ms: Sequence[float]) -> str | None:
    """
    Judge all rounds.

    @param alone_ms: the 99th of a hundred turns of each round, alone.
    @param beside_ms: the same beside the others.
    @return: what is missed, or C{None}.
    """
    over_ms = [beside - (GOAL_RATIO * alone + GOAL_ADDED_MS) for alone, beside in zip(alone_ms, beside_ms, strict=True)]
    over = statistics.median(over_ms)
    if over <= 0:
        return None
    goal = f"{GOAL_RATIO:g} times alone + {GOAL_ADDED_MS:g} ms"
    return f"the 99th turn of 100 takes {over:.0f} ms more than {goal}, median of {len(over_ms)}"


class Trial:
    """
    The sessions of both kinds at one gateway.

    @ivar outcomes: how the turns at the faulty server ended.
    """

    def __init__(self, target: Target, sessions: int, pause_s: float) -> None:
        self._target = target
        self._sessions = sessions
        self._pause_s = pause_s
        self._number = 0
        self.outcomes: Counter[str] = Counter()

    async def healthy(self, seconds: float) -> tuple[list[float], Counter[str]]:
        """Let the healthy sessions have turns for a while; gives how many ms each took, and how they ended."""
        took_ms: list[float] = []
        ended: Counter[str] = Counter()
        until_s = time.monotonic() + seconds

        async def session(user: str, chance: random.Random) -> None:
            await asyncio.sleep(chance.random() * self._pause_s)
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                client = Client(self._target.port, self._target.token, ended)
                await client.stream(f"chunks={CHUNKS}", model="openclaw/healthy", user=user)
                took_ms.append(1000 * (time.monotonic() - began_s))
                await asyncio.sleep(self._pause_s * (0.5 + chance.random()))

        # Sessions of their own each time: those of a longer trial would have the longer prompts.
        self._number += 1
        names = [f"h{self._number}-{number}" for number in range(self._sessions)]
        await asyncio.gather(*(session(name, random.Random(name)) for name in names))
        return took_ms, ended

    async def faulty(self, number: int) -> None:
        """One session at the faulty server, until it is cancelled."""
        chance = random.Random(number)
        while True:
            await asyncio.sleep(FAULTY_PAUSE_S * (0.5 + chance.random()))
            client = Client(self._target.port, self._target.token, self.outcomes)
            try:
                async with asyncio.timeout(REQUEST_S):
                    reader = await client.open("hello", model="openclaw/faulty", user=f"f{number}")
                    await reader.read()
                self.outcomes[client.head.split(b" ")[1].decode()] += 1
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.outcomes[type(error).__name__] += 1
            finally:
                with contextlib.suppress(AttributeError):
                    client.close()


async def _round(trial: Trial, options: argparse.Namespace) -> tuple[float, float, list[str]]:
    """One measurement alone and one beside; gives the 99th of a hundred turns of either, and what went wrong."""
    alone_ms, ended = await trial.healthy(options.seconds)
    others = [asyncio.create_task(trial.faulty(number)) for number in range(options.faulty)]
    try:
        # Until they are out of step, and the server has had all its faults.
        await asyncio.sleep(options.settle)
        beside_ms, ended_beside = await trial.healthy(options.seconds)
    finally:
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    p99_ms = [quantile(took_ms, 0.99) or 0.0 for took_ms in (alone_ms, beside_ms)]
    tell(
        part=f"{options.healthy} sessions beside {options.faulty} on a faulty provider",
        turns_alone=len(alone_ms),
        turns_beside=len(beside_ms),
        p50_ms_alone=quantile(alone_ms, 0.5),
        p50_ms_beside=quantile(beside_ms, 0.5),
        p99_ms_alone=p99_ms[0],
        p99_ms_beside=p99_ms[1],
        outcomes_of_the_faulty=dict(trial.outcomes),
    )
    wrong = [f"turns that failed: {dict(counts)}" for counts in (ended, ended_beside) if set(counts) != {"good"}]
    return p99_ms[0], p99_ms[1], wrong


async def _run(options: argparse.Namespace) -> list[str]:
    server, model_port = await serve_stamped()
    faulty = FaultyServer(options.faults.split(","))
    faulty_server, faulty_port = await faulty.serve()
    pinning = choose_cores(sorted(os.sched_getaffinity(0)))
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="openclaw-neighbours-") as folder:
        target = ours(Path(folder), model_port, options.ours)
        config = Path(target.environment["OPENCLAW_CONFIG_PATH"])
        document = with_two_providers(json.loads(config.read_text()), faulty_port)
        config.write_bytes(msgspec.json.encode(document))
        running = started(target, pinning.target, Path(folder) / "log")
        await asyncio.to_thread(running.__enter__)
        os.sched_setaffinity(0, {pinning.load})
        try:
            trial = Trial(target, options.healthy, options.pause)
            await trial.healthy(2.0)
            rounds = []
            for _ in range(options.rounds):
                alone_ms, beside_ms, wrong = await _round(trial, options)
                rounds.append((alone_ms, beside_ms))
                missed += wrong
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    server.close()
    faulty_server.close()
    tell(part="the faulty server", asked=dict(faulty.asked))
    slow = is_missed([alone_ms for alone_ms, _ in rounds], [beside_ms for _, beside_ms in rounds])
    return missed + ([slow] if slow is not None else [])


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: the arguments; L{None} takes the process's.
    @return: the exit status: 1 when a goal was missed.
    """
    made = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__)
    made.add_argument("--healthy", type=int, default=50, help="sessions of the healthy provider (at most 200)")
    made.add_argument("--faulty", type=int, default=500, help="sessions of the faulty one (at most 1000)")
    made.add_argument("--faults", default=",".join(USUAL), help="what that does, one after the other (%(default)s)")
    made.add_argument("--seconds", type=float, default=20.0, help="length of each measurement (at most 300)")
    made.add_argument("--settle", type=float, default=10.0, help="seconds before the one beside the others")
    made.add_argument("--pause", type=float, default=0.5, help="seconds between two turns of a session")
    made.add_argument("--rounds", type=int, default=3, help="how often it is measured; the median counts")
    made.add_argument("--ours", metavar="COMMAND", default="", help="how openclaw is run")
    options = made.parse_args(argv)
    if not (0 < options.healthy <= 200 and 0 <= options.faulty <= 1000 and 0 < options.seconds <= 300):
        made.error("these bounds keep the machine usable: healthy 1 to 200, faulty to 1000, seconds to 300")
    if not (0 < options.rounds <= 9 and 0 <= options.settle <= 300 and 0.05 <= options.pause <= 60):
        made.error("expected rounds 1 to 9, settle to 300, pause 0.05 to 60")
    if unknown := set(options.faults.split(",")) - set(FAULTS):
        made.error(f"--faults: expected some of {', '.join(dict.fromkeys(FAULTS))}, got {', '.join(sorted(unknown))}")
    missed = asyncio.run(_run(options))
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
