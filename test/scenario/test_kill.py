"""
C{kill -9} at random points, again and again: no turn is lost or doubled, and nothing has to be repaired.

It comes under load, amid a start, and while a gateway that was told to stop lets its runs finish.

C{OPENCLAW_TEST_KILLS} says how often (C{.ci/run --full}: 200).
"""

import asyncio
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

from test.scenario.kill_load import Conversation, RecordingModel, faults_of
from test.scenario.support import TOKEN, GatewayTestCase, Program

KILLS = int(os.environ.get("OPENCLAW_TEST_KILLS", "4"))
CONVERSATIONS = 6
MOST_TURNS = 40
"""Turns after which a conversation makes room for a new one, so that prompts stay short."""

LONGEST_LOAD_S = 0.6
LONGEST_START_S = 0.7
LONGEST_DRAIN_S = 0.1
READY_WITHIN_S = 5.0
"""Far above the second that it takes, for a machine that is busy; the figures are printed."""


class KillTests(GatewayTestCase):
    timeout = 60 + 10 * KILLS

    def test_killed_again_and_again(self) -> None:
        """Each conversation's next turn brings all its acknowledged ones to the model, once each and in order."""
        seed = int(os.environ.get("OPENCLAW_TEST_SEED", "0")) or random.randrange(1 << 30)
        self.chance = random.Random(seed)
        try:
            asyncio.run(self.kill_repeatedly())
        except BaseException:
            print(f"OPENCLAW_TEST_SEED={seed}")
            raise

    async def kill_repeatedly(self) -> None:
        self.model = RecordingModel(self.chance)
        server = await self.model.start()
        document = self.document()
        document["models"]["providers"]["p"]["baseUrl"] = f"http://127.0.0.1:{self.model.port}/v1"
        self.write(document)
        self.names = 0
        conversations = [self.conversation() for _ in range(CONVERSATIONS)]
        ready_s: list[float] = []
        for number in range(KILLS):
            if number % 2:
                await self.kill_amid_a_start()
            gateway = await asyncio.to_thread(self.gateway)
            ready_s.append(gateway.age_s)
            talks = [asyncio.create_task(conversation.talk()) for conversation in conversations]
            await asyncio.sleep(self.chance.uniform(0.0, LONGEST_LOAD_S))
            if number % 4 == 3:
                gateway.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(self.chance.uniform(0.0, LONGEST_DRAIN_S))
            await asyncio.to_thread(self.kill, gateway)
            await asyncio.gather(*talks)
            self.assertEqual([], [problem for one in conversations for problem in one.problems])
            conversations = await self.check(conversations)
        server.close()
        acknowledged = sum(len(one.accepted) for one in self.ended + conversations)
        print(f" {KILLS} kills, {acknowledged} turns, ready {max(ready_s):.2f} s at most ", end="")
        self.assertGreater(acknowledged, KILLS)
        self.assertLess(max(ready_s), READY_WITHIN_S)
        self.assertEqual(self.integrity(self.state_dir / "gateway.sqlite"), "ok")

    async def kill_amid_a_start(self) -> None:
        gateway = self.start("gateway", "run")
        await asyncio.sleep(self.chance.uniform(0.0, LONGEST_START_S))
        await asyncio.to_thread(self.kill, gateway)

    def kill(self, gateway: Program) -> None:
        """Kill it, if it has not just stopped in order."""
        self.assertIn(gateway.end(signal.SIGKILL), (-signal.SIGKILL, 0), gateway.err)

    def conversation(self) -> Conversation:
        self.names += 1
        return Conversation(f"c{self.names}", self.port, TOKEN, self.chance)

    ended: list[Conversation] = []

    async def check(self, conversations: list[Conversation]) -> list[Conversation]:
        """Start again, send one more turn in each conversation, and see what of it came to the model."""
        gateway: Program = await asyncio.to_thread(self.gateway)
        began_s = time.monotonic()
        self.assertEqual([True] * len(conversations), await asyncio.gather(*(one.say() for one in conversations)))
        self.assertLess(time.monotonic() - began_s, READY_WITHIN_S, "the sessions are usable at once")
        for one in conversations:
            newest = one.sent[-1]
            self.assertIn(newest, one.answered, one.problems)
            self.assertEqual(len(self.model.prompts[newest]), 1, newest)
            self.assertEqual([], faults_of(one, self.model.prompts[newest][0]))
        await asyncio.to_thread(gateway.end, signal.SIGKILL)
        self.model.prompts.clear()
        self.ended = self.ended + [one for one in conversations if len(one.sent) > MOST_TURNS]
        return [one if len(one.sent) <= MOST_TURNS else self.conversation() for one in conversations]

    def integrity(self, path: Path) -> str:
        with sqlite3.connect(path) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        return str(found)
