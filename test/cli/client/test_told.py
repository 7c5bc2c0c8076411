"""Payloads of gateways that tell other things than we expect."""

from __future__ import annotations

from typing import Any

from openclaw.cli.client.told import number, part, rows, texts
from test.cli.gateway_fake import RemoteTestCase

ODD: tuple[Any, ...] = (None, 5, "x", [], [5, None, "x", []], {}, {"a": 5}, [{"sessions": 5, "key": []}], True, 1e300)
"""What may stand anywhere."""


NAMES = """
    agents sessions recent runs configReload eventLoop messages lines cursor file totalCount hasMore defaultId models
    failing runtimeVersion ok
"""
"""What the commands look at in answers."""


class PartTests(RemoteTestCase):
    def test_parts(self) -> None:
        self.assertEqual(part({"a": {"b": {"c": 1}}}, "a", "b"), {"c": 1})
        self.assertEqual(rows({"a": [{"b": 1}, 5, None]}, "a"), [{"b": 1}])
        self.assertEqual(texts({"a": ["x", 5, None]}, "a"), ["x"])
        self.assertEqual([number(value) for value in (5, 2.5, True, "5", None, 1e300)], [5, 2.5] + [None] * 4)
        for odd in ODD:
            self.assertEqual(part(odd, "a"), {})
            self.assertEqual(rows(odd, "a"), [])
            self.assertEqual(texts(odd, "a"), [])

    def test_no_answer_is_a_bug_of_ours(self) -> None:
        """Every command copes with every answer; none of them ends with a traceback."""
        for odd in ODD:
            payload = dict.fromkeys(NAMES.split(), odd)
            self.gateway.hello.update(snapshot=odd, policy=odd, server=odd, auth=odd)
            for answer in (payload, odd):
                for method in ("status", "health", "sessions.list", "agents.list", "logs.tail"):
                    self.gateway.methods[method] = lambda socket, frame, answer=answer: answer
                for command in (
                    ("status",), ("status", "--json"), ("gateway", "health"), ("gateway", "status"), ("sessions",),
                    ("gateway", "probe"), ("agents", "list", "--url", "ws://127.0.0.1:18789"), ("logs",),
                ):  # fmt: skip
                    self.assertIn(self.run_command(*command), (0, 1), (command, odd))
