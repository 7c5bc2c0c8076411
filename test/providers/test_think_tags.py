"""Tests of L{openclaw.providers.think_tags}."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.events import ReasoningDelta
from openclaw.providers.think_tags import MAX_HELD_CHARACTERS, ThinkTags

ROWS = {
    "Hello": ("", "Hello"),
    "  Hello": ("", "  Hello"),
    "<think>plan</think>\n\nHello": ("plan", "Hello"),
    "\n<think>\nplan\n</think>\n\nHello": ("plan\n", "Hello"),
    "<THINK>plan</Think>Hello": ("plan", "Hello"),
    "<think></think>Hello": ("", "Hello"),
    "<think>\n\n</think>\n\nHello": ("", "Hello"),
    "<think>one</think>\n<think>two</think>Hello": ("onetwo", "Hello"),
    "<think>plan": ("plan", ""),
    "<think>plan</thi": ("plan</thi", ""),
    "<think>a < b</b></think>c": ("a < b</b>", "c"),
    "[THINK]plan[/THINK]Hello": ("plan", "Hello"),
    "◁think▷plan◁/think▷Hello": ("plan", "Hello"),
    "<seed:think>plan</seed:think>Hello": ("plan", "Hello"),
    # What is none.
    "a <think>b</think>": ("", "a <think>b</think>"),
    "<think>plan</think>Hello <think>x</think>": ("plan", "Hello <think>x</think>"),
    "The tag <think> begins it": ("", "The tag <think> begins it"),
    "`<think>` begins it": ("", "`<think>` begins it"),
    "<thinking>a</thinking>b": ("", "<thinking>a</thinking>b"),
    "<reasoning>a</reasoning>b": ("", "<reasoning>a</reasoning>b"),
    "plan</think>Hello": ("", "plan</think>Hello"),
    "<thin> air": ("", "<thin> air"),
    "<": ("", "<"),
    "<think": ("", "<think"),
    "   ": ("", "   "),
    "": ("", ""),
    "[1] a": ("", "[1] a"),
}


def told(*pieces: str) -> tuple[str, str]:
    """The reasoning and the text of some pieces."""
    tags = ThinkTags()
    events = []
    rest = ""
    for piece in pieces:
        if tags.over:
            rest += piece
        else:
            events.extend(tags.feed(piece))
    events.extend(tags.finish())
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    return thought, "".join(event.text for event in events if not isinstance(event, ReasoningDelta)) + rest  # type: ignore[union-attr]


class ThinkTagTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """Whole, one character a piece, and cut in two anywhere."""
        for text, expected in ROWS.items():
            self.assertEqual(expected, told(text), text)
            self.assertEqual(expected, told(*text), text)
            for at in range(len(text)):
                self.assertEqual(expected, told(text[:at], text[at:]), (text, at))

    @settings(max_examples=200, deadline=None)
    @given(st.text("<think>/ a\n", max_size=40), st.lists(st.integers(0, 40), max_size=6))
    def test_cuts(self, text: str, cuts: list[int]) -> None:
        """Where it is cut makes no difference."""
        ends = [0, *sorted(cuts), len(text)]
        pieces = [text[begin:end] for begin, end in pairwise(ends)]
        self.assertEqual(told(text), told(*pieces))

    def test_little_is_held_back(self) -> None:
        """No more than what may be a tag."""
        tags = ThinkTags()
        self.assertEqual([], tags.feed("<think>"))
        self.assertEqual([ReasoningDelta("plan a")], tags.feed("plan a</th"))
        self.assertEqual([ReasoningDelta("</th b")], tags.feed(" b"))
        self.assertFalse(tags.over)

    def test_endless_blanks(self) -> None:
        """Blanks are not kept for ever."""
        tags = ThinkTags()
        text = "".join(event.text for _ in range(1000) for event in tags.feed(" "))  # type: ignore[union-attr]
        self.assertGreater(len(text), 1000 - 2 * MAX_HELD_CHARACTERS)
