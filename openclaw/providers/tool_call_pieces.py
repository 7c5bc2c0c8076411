"""The tool calls of an answer, put together from the pieces in which servers send them."""

from __future__ import annotations

import uuid

import msgspec

from openclaw.events import ToolCallDelta
from openclaw.providers.openai_chunk import CallPiece, Function

MAX_CALLS = 1000
"""Most tool calls of one answer; only a broken server asks for more."""


class TooManyCallsError(Exception):
    """More than L{MAX_CALLS}."""


class ToolCallPieces:
    """
    Finds out which call each piece belongs to.

    Its index says so, but some servers leave it out, count from 1, or give several calls the same one.  What is told
    counts from 0, in the order in which the calls began.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._has_name: list[bool] = []
        self._of_index: dict[int, int] = {}

    def __len__(self) -> int:
        """How many calls have begun."""
        return len(self._ids)

    def add(self, place: int, call: CallPiece) -> ToolCallDelta | None:
        """
        Take a piece.

        @param place: where it stands among the pieces of its chunk.
        @return: what it tells, if anything.
        @raise TooManyCallsError: if it begins one call too many.
        """
        function = call.function or Function()
        position = self._position(place, call, function)
        arguments = function.arguments or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        first = position is None
        if position is None:
            position = self._begin(call)
        # Some servers repeat the name with each piece.
        name = None if self._has_name[position] else function.name or None
        if name is not None:
            self._has_name[position] = True
        if not (first or name is not None or arguments):
            return None
        return ToolCallDelta(position, self._ids[position] if first else None, name, arguments)

    def _begin(self, call: CallPiece) -> int:
        position = len(self._ids)
        if position >= MAX_CALLS:
            raise TooManyCallsError
        self._ids.append(call.id or f"call_{uuid.uuid4().hex}")
        self._has_name.append(False)
        self._of_index[position if call.index is None else call.index] = position
        return position

    def _position(self, place: int, call: CallPiece, function: Function) -> int | None:
        """Which call a piece belongs to; C{None} if it begins one."""
        if call.index is not None:
            known = self._of_index.get(call.index)
            # Another id and a name once more: another call, to which Gemini gives the same index.
            if (
                known is not None
                and call.id
                and function.name
                and self._has_name[known]
                and call.id != self._ids[known]
            ):
                return None
            return known
        if call.id:
            return self._ids.index(call.id) if call.id in self._ids else None
        if place >= len(self._ids) or (function.name and self._has_name[place]):
            return None
        return place
