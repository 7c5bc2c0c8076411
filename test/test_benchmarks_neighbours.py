"""L{benchmarks.neighbours}: what judges the rounds, and what the faulty server says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import neighbours, targets
from benchmarks.neighbours import FAULTS, FaultyServer, answer_of, is_missed, with_two_providers
from openclaw.config.load import parse_config


class JudgingTests(SynchronousTestCase):
    def test_median(self) -> None:
        self.assertIsNone(is_missed([10, 10, 10], [65, 65, 10_000]))
        missed = is_missed([10, 10, 10], [10, 85, 10_000])
        self.assertEqual("the 99th turn of 100 takes 20 ms more than 1.5 times alone + 50 ms, median of 3", missed)

    def test_each_round_by_itself(self) -> None:
        self.assertIsNone(is_missed([10, 200, 200], [66, 340, 340]))


class FaultTests(SynchronousTestCase):
    def test_answers(self) -> None:
        for fault in ("500", "503", "429"):
            head, _, body = answer_of(fault).partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 " + fault.encode()))
            self.assertIn(b"Content-Length: %d" % len(body), head)
            self.assertEqual(fault == "429", b"Retry-After" in head)
        self.assertEqual([b""] * 3, [answer_of(fault) for fault in ("refuse", "cut", "hang")])
        self.assertIn(b"[DONE]", answer_of("well"))
        self.assertNotIn(b"[DONE]", answer_of("half"))
        for event in answer_of("well").decode().split("\n\n")[:2]:
            self.assertEqual(0, json.loads(event.rpartition("data: ")[2])["choices"][0]["index"])

    def test_loopback_one_after_the_other(self) -> None:
        faults = [fault for fault in dict.fromkeys(FAULTS) if fault != "hang"]

        async def ask(port: int) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

        async def trial() -> tuple[list[bytes], Counter[str]]:
            faulty = FaultyServer(faults)
            server, port = await faulty.serve()
            answers = [await ask(port) for _ in range(2 * len(faults))]
            server.close()
            return answers, faulty.asked

        answers, asked = asyncio.run(trial())
        expected = itertools.islice(itertools.cycle(map(answer_of, faults)), 2 * len(faults))
        self.assertEqual(list(expected), answers)
        self.assertEqual({2}, set(asked.values()))


class CommandTests(SynchronousTestCase):
    def test_configuration(self) -> None:
        document: Any = with_two_providers(targets.gateway_document(1, 2, "t" * 32), 3)
        config, _ = parse_config(document, {})
        self.assertEqual({"bench", "faulty"}, set(config.models.providers))
        self.assertEqual("http://127.0.0.1:3/v1", config.models.providers["faulty"].base_url)
        self.assertEqual({"healthy", "faulty"}, set(config.agents.agent_ids))

    def test_bounds(self) -> None:
        for argv in ("--healthy 0", "--faulty 1001", "--rounds 0", "--faults nice", "--pause 0"):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit):
                neighbours.main(argv.split())
            self.assertIn("error: ", said.getvalue())
