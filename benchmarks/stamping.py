"""
A model server whose every event says when it was sent, so that a reader knows how late it is.

The last user message says how long the answer is: C{chunks=30 pause=100} (pause in ms between two events).
C{fail=503} answers with that status, C{die=N} cuts the connection after N events, C{big=N} makes events of N bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import Any

_STEER = re.compile(r"\b(chunks|pause|fail|die|big)=(\d{1,6})")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_PAYLOAD = '{"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}'


def _event(delta: str, reason: str = "null") -> bytes:
    payload = f"data: {_PAYLOAD % (delta, reason)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(payload), payload)


_END = _event("{}", '"stop"') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def serve_stamped() -> tuple[asyncio.Server, int]:
    """
    Serve on a free port of loopback.

    @return: the server and its port.
    """
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=2048)
    return server, server.sockets[0].getsockname()[1]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            body: dict[str, Any] = json.loads(await reader.readexactly(length))
            steer = {name: int(value) for name, value in _STEER.findall(body["messages"][-1]["content"])}
            if not await _answer(writer, steer):
                return


async def _answer(writer: asyncio.StreamWriter, steer: dict[str, int]) -> bool:
    """Write one answer; gives whether the connection may go on."""
    if "fail" in steer:
        body = b'{"error":{"message":"as asked"}}'
        head = f"HTTP/1.1 {steer['fail']} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        return True
    writer.write(_HEAD)
    if steer.get("pause") and "die" not in steer:
        await _Paced(writer, steer).done
    else:
        padding = "x" * steer.get("big", 0)
        for number in range(steer.get("chunks", 10)):
            if steer.get("die") == number:
                return False
            writer.write(_stamped(padding))
            await writer.drain()
    writer.write(_END)
    await writer.drain()
    return True


def _stamped(padding: str = "") -> bytes:
    return _event(f'{{"content":"{time.monotonic() * 1e6:.0f} {padding}"}}')


class _Paced:
    """
    Writes an event at each beat of the clock, at the cost of one timer an event.

    @ivar done: resolved after the last one, or when the reader is gone.
    """

    def __init__(self, writer: asyncio.StreamWriter, steer: dict[str, int]) -> None:
        self._writer = writer
        self._left = steer.get("chunks", 10)
        self._pause_s = steer["pause"] / 1000
        self._loop = asyncio.get_running_loop()
        self._next_s = self._loop.time()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._beat()

    def _beat(self) -> None:
        if not self._left or self._writer.is_closing():
            self.done.set_result(None)
            return
        self._left -= 1
        self._writer.write(_stamped())
        # By the clock and not by the end of the last pause: the pace is the same however busy this process is.
        self._next_s += self._pause_s
        self._loop.call_at(self._next_s, self._beat)
