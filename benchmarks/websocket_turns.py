"""
What a turn over the WebSocket costs: C{python -m benchmarks.websocket_turns}.

Starts a model server and a gateway, has clients that call C{agent} one turn after the other, each with an
C{idempotencyKey} of its own as all real clients send it, and prints the gateway's CPU time for each turn and how long
turns take.  With C{--vs COMMAND} it measures another C{openclaw} in turn with the first one, and prints the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.stats import Pinning, choose_cores, pinned, process_use, quantile
from benchmarks.targets import Target, model_server, ours, started

DEADLINE_S = 60.0
"""Longest wait for one frame, in seconds."""

_MASK = b"\0\0\0\0"


class Measured(msgspec.Struct, frozen=True):
    """
    One load.

    @ivar cpu_ms: CPU time of the gateway for each turn, in milliseconds.
    @ivar p50_ms: median duration of a turn, from the call to its last response.
    """

    cpu_ms: float
    p50_ms: float


class Client:
    """A program that is connected with the shared secret."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, target: Target) -> Client:
        """Open a connection, and introduce it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        key = "c2l4dGVlbiBieXRlcyBoZQ=="
        writer.write(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        client = cls(reader, writer)
        program = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
        scopes = ["operator.read", "operator.write"]
        params = {"minProtocol": 4, "maxProtocol": 4, "client": program, "scopes": scopes}
        await client.call("0", "connect", {**params, "auth": {"token": target.token}})
        return client

    async def call(self, call_id: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Call a method; returns the payload of its last response."""
        self._send({"type": "req", "id": call_id, "method": method, "params": params})
        while True:
            frame = await asyncio.wait_for(self._receive(), DEADLINE_S)
            if frame.get("type") != "res" or frame["id"] != call_id:
                continue
            if not frame["ok"]:
                raise RuntimeError(f"{method}: {frame['error']}")
            payload: dict[str, Any] = frame["payload"]
            if payload.get("status") != "accepted":
                return payload

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()

    def _send(self, frame: dict[str, Any]) -> None:
        payload = json.dumps(frame).encode()
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        self._writer.write(b"\x81" + length + _MASK + payload)

    async def _receive(self) -> dict[str, Any]:
        """The next message that is text; the gateway sends each in one frame."""
        while True:
            head = await self._reader.readexactly(2)
            size = head[1]
            if size == 126:
                (size,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
            payload = await self._reader.readexactly(size)
            if head[0] == 0x81:
                decoded: dict[str, Any] = json.loads(payload)
                return decoded


async def _turns(client: Client, number: int, turns: int, durations: list[float]) -> None:
    for turn in range(turns):
        begun_s = time.perf_counter()
        params = {
            "message": "chunks=20",
            # A session of its own for each turn: the prompt is not to grow.
            "sessionKey": f"bench-{number}-{turn}-{secrets.token_hex(4)}",
            "idempotencyKey": secrets.token_hex(16),
        }
        payload = await client.call(f"{number}-{turn}", "agent", params)
        if payload["status"] != "ok":
            raise RuntimeError(f"a turn failed: {payload}")
        durations.append(time.perf_counter() - begun_s)


async def _load(target: Target, pid: int, clients: int, turns: int) -> Measured:
    connected = [await Client.connect(target) for _ in range(clients)]
    await asyncio.gather(*(_turns(client, number, 5, []) for number, client in enumerate(connected)))
    before = process_use(pid)
    durations: list[float] = []
    await asyncio.gather(*(_turns(client, number, turns, durations) for number, client in enumerate(connected)))
    after = process_use(pid)
    for client in connected:
        client.close()
    assert before is not None and after is not None
    median_s = quantile(durations, 0.5)
    assert median_s is not None
    return Measured((after.cpu_s - before.cpu_s) * 1000 / len(durations), median_s * 1000)


def measure(command: str, pinning: Pinning, clients: int, turns: int) -> Measured:
    """
    Measure one gateway.

    @param command: the command line of C{openclaw}; empty for the one beside this Python.
    """
    with tempfile.TemporaryDirectory(prefix="openclaw-benchmark-") as name:
        folder = Path(name)
        model = model_server(folder)
        with started(model, pinning.load, folder / "model.txt"):
            target = ours(folder, model.port, command)
            with started(target, pinning.target, folder / "gateway.txt") as running, pinned(pinning.load):
                return asyncio.run(_load(target, running.pid, clients, turns))


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: the arguments; C{None} takes the process's.
    @return: the exit status: with C{--check} 1 if a turn costs more than that many times of the other's.
    """
    command_line = argparse.ArgumentParser(prog="python -m benchmarks.websocket_turns", description=__doc__)
    command_line.add_argument("--ours", metavar="COMMAND", default="", help="how our openclaw is run")
    command_line.add_argument("--vs", metavar="COMMAND", default="", help="another openclaw to compare it with")
    command_line.add_argument("--pairs", type=int, default=3, help="how often each is measured")
    command_line.add_argument("--clients", type=int, default=4, help="how many at a time")
    command_line.add_argument("--turns", type=int, default=300, help="turns of each client")
    command_line.add_argument("--check", metavar="RATIO", type=float, help="exit 1 if the median ratio is above this")
    options = command_line.parse_args(argv)
    pinning = choose_cores(sorted(os.sched_getaffinity(0)))
    ratios = []
    for _ in range(options.pairs):
        measured = []
        for command in (options.ours, options.vs) if options.vs else (options.ours,):
            one = measure(command, pinning, options.clients, options.turns)
            measured.append(one)
            print(f"{one.cpu_ms:.3f} ms CPU, {one.p50_ms:.2f} ms a turn   {command or 'ours'}", flush=True)
        if options.vs:
            ratios.append(measured[0].cpu_ms / measured[1].cpu_ms)
    if not ratios:
        return 0
    ratio = statistics.median(ratios)
    print(f"CPU a turn, median of {len(ratios)} ratios: {ratio:.3f}")
    return int(options.check is not None and ratio > options.check)


if __name__ == "__main__":
    raise SystemExit(main())
