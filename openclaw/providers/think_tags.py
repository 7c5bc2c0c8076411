"""
Thinking between tags at the start of an answer's text, from a server that does not tell it apart.

Only what stands first counts: an answer that speaks of the tags further on means them.  Nor do tags count that a
prompt may ask for (C{<thinking>}, C{<reasoning>}): these belong to the answer.  Where a chat template has eaten the
opening tag, the text has been told by the time the closing one comes, and stays text.
"""

from __future__ import annotations

from openclaw.events import ProviderEvent, ReasoningDelta, TextDelta

_TAGS = {
    # DeepSeek, Qwen and most others; Magistral; Kimi; Seed.
    "<think>": "</think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<seed:think>": "</seed:think>",
}
"""The tags, in small letters."""

MAX_TAG_CHARACTERS = 12
MAX_HELD_CHARACTERS = 256
"""Most that is held back of blanks before the text."""


def _kept_back(text: str, tag: str) -> int:
    """How many of the last characters of a text may be the beginning of a tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:].lower()):
            return length
    return 0


class ThinkTags:
    """
    Tells thinking from text, piece by piece; holds back no more than what may be a tag, or blanks before one.

    @ivar over: whether the text has begun, and no more tags are looked for.
    """

    def __init__(self) -> None:
        self.over = False
        self._held = ""
        self._closing: str | None = None
        # Blanks behind a closing tag belong to it, those at the very start may belong to the text.
        self._is_first = True
        self._has_thought = False

    def feed(self, text: str) -> list[ProviderEvent]:
        """Take the next piece of text; gives what it tells."""
        events: list[ProviderEvent] = []
        text = self._held + text
        self._held = ""
        while text:
            if self._closing is not None:
                text = self._think(text, self._closing, events)
            else:
                begun = self._begin(text, events)
                if begun is None:
                    break
                text = begun
        return events

    def finish(self) -> list[ProviderEvent]:
        """The end of the text; gives what was held back.  Thinking that was not closed is thinking."""
        held, self._held = self._held, ""
        if self._closing is None and not self._is_first:
            held = held.lstrip()
        if not held:
            return []
        return [TextDelta(held) if self._closing is None else ReasoningDelta(held)]

    def _begin(self, text: str, events: list[ProviderEvent]) -> str | None:
        """Look for a tag at the start; gives what stands behind it, or C{None} if all of the text is used."""
        stripped = text.lstrip()
        start = stripped[:MAX_TAG_CHARACTERS].lower()
        for tag, closing in _TAGS.items():
            if start.startswith(tag):
                self._closing = closing
                self._has_thought = False
                return stripped[len(tag) :]
            if tag.startswith(start):
                # An empty start, of blanks alone, is the beginning of any tag.
                self._hold(text if self._is_first else stripped, events)
                return None
        self.over = True
        events.append(TextDelta(text if self._is_first else stripped))
        return None

    def _hold(self, text: str, events: list[ProviderEvent]) -> None:
        """Keep what may be blanks and a tag, but no more blanks than models write."""
        if len(text) > MAX_HELD_CHARACTERS:
            events.append(TextDelta(text[:-MAX_TAG_CHARACTERS]))
            text = text[-MAX_TAG_CHARACTERS:]
        self._held = text

    def _think(self, text: str, closing: str, events: list[ProviderEvent]) -> str:
        """Take thinking; gives what stands behind its end."""
        at = text.lower().find(closing) if len(text.lower()) == len(text) else text.find(closing)
        if at < 0:
            kept = _kept_back(text, closing)
            thought, self._held = text[: len(text) - kept], text[len(text) - kept :]
            rest = ""
        else:
            thought, rest = text[:at], text[at + len(closing) :]
            self._closing = None
            self._is_first = False
        if not self._has_thought:
            thought = thought.lstrip()
        if thought:
            self._has_thought = True
            events.append(ReasoningDelta(thought))
        return rest
