"""
Clients and a model server for the tests that kill the gateway: both remember what they saw.

Everything here runs in one asyncio loop beside the gateway's process.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence
from typing import Any

REQUEST_DEADLINE_S = 10.0
"""Longest that one request may take, in seconds."""

MODEL_PAUSES_S = (0.0, 0.0, 0.002, 0.01)
"""Pauses before each piece of an answer, of which one is chosen each time."""


def answer_to(text: str) -> str:
    """What the model says to a user message."""
    return f"answer to {text} ."


class RecordingModel:
    """
    A model server that keeps the prompts it was given.

    @ivar prompts: the messages of each call, by the last user message, newest last.
    @ivar port: its TCP port, once it is started.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._connections: set[asyncio.Task[Any]] = set()
        self.prompts: dict[str, list[list[dict[str, Any]]]] = {}
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Serve on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                await self._answer(body, writer)

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        messages = body["messages"]
        question = messages[-1]["content"]
        self.prompts.setdefault(question, []).append(messages)
        words = answer_to(question).split(" ")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number, word in enumerate(words):
            await asyncio.sleep(self._chance.choice(MODEL_PAUSES_S))
            self._event(writer, {"content": word if number == 0 else f" {word}"}, None)
            await writer.drain()
        self._event(writer, {}, "stop")
        writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()

    def _event(self, writer: asyncio.StreamWriter, delta: dict[str, str], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        writer.write(_chunk(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"))


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class Conversation:
    """
    One user of one session, who sends a turn after the other.

    @ivar sent: all turns, in their order.
    @ivar accepted: those whose answer began, so that the turn is stored.
    @ivar answered: those whose answer was whole, so that it is stored too.
    @ivar problems: answers that were wrong.
    """

    def __init__(self, name: str, port: int, token: str, chance: random.Random) -> None:
        self.name = name
        self._port = port
        self._token = token
        self._chance = chance
        self._number = 0
        self.sent: list[str] = []
        self.accepted: set[str] = set()
        self.answered: set[str] = set()
        self.problems: list[str] = []

    async def talk(self) -> None:
        """Send turns until the gateway is gone."""
        while await self.say():
            await asyncio.sleep(0)

    async def say(self) -> bool:
        """Send one turn; gives whether the gateway is still there."""
        self._number += 1
        text = f"turn {self.name}.{self._number}"
        self.sent.append(text)
        stream = self._chance.random() < 0.5
        try:
            async with asyncio.timeout(REQUEST_DEADLINE_S):
                await self._ask(text, stream)
        except (OSError, asyncio.IncompleteReadError):
            return False
        except TimeoutError:
            self.problems.append(f"{text}: no answer in {REQUEST_DEADLINE_S:g} s")
            return False
        return True

    async def _ask(self, text: str, stream: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps(
            {"model": "openclaw", "user": self.name, "stream": stream, "messages": [{"role": "user", "content": text}]}
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
        with contextlib.closing(writer):
            writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer_head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(answer_head.split(" ")[1])
            if status != 200:
                error = await reader.read()
                if status == 503 and b'"code":"draining"' in error:
                    raise ConnectionError("it is about to stop")
                self.problems.append(f"{text}: status {status}: {error[:300]!r}")
                return
            if stream:
                self.accepted.add(text)
                data = await self._read_stream(reader)
            else:
                data = await reader.readexactly(
                    int(answer_head.lower().partition("content-length:")[2].split("\r\n")[0])
                )
                self.accepted.add(text)
                data = json.loads(data)["choices"][0]["message"]["content"]
        if data != answer_to(text):
            self.problems.append(f"{text}: {data!r}")
        self.answered.add(text)

    async def _read_stream(self, reader: asyncio.StreamReader) -> Any:
        said = ""
        while True:
            line = (await reader.readuntil(b"\n")).strip()
            if not line.startswith(b"data: "):
                continue
            if line == b"data: [DONE]":
                return said
            event = json.loads(line[6:])
            if "error" in event:
                return event
            said += event["choices"][0]["delta"].get("content", "")


def faults_of(conversation: Conversation, prompt: Sequence[dict[str, Any]]) -> list[str]:
    """
    What is wrong with the prompt of a conversation's newest turn.

    Every accepted turn is in it exactly once and in order, every whole answer stands behind its turn; a turn that
    was cut off by a kill may be there or not, but never twice.
    """
    faults: list[str] = []
    said = [message["content"] for message in prompt if message["role"] == "user"]
    known = {text: place for place, text in enumerate(conversation.sent)}
    if any(text not in known for text in said):
        faults.append(f"{conversation.name}: turns of somebody else: {said}")
        return faults
    places = [known[text] for text in said]
    if places != sorted(set(places)):
        faults.append(f"{conversation.name}: doubled or out of order: {said}")
    lost = [text for text in conversation.sent if text in conversation.accepted and text not in said]
    if lost:
        faults.append(f"{conversation.name}: lost: {lost}")
    for place, message in enumerate(prompt[:-1]):
        if message["role"] == "user" and message["content"] in conversation.answered:
            behind = prompt[place + 1]
            if (behind["role"], behind["content"]) != ("assistant", answer_to(message["content"])):
                faults.append(f"{conversation.name}: behind {message['content']} stands {behind}")
    return faults
