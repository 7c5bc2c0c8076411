"""
Edits of JSON5 text that keep comments and layout.

The text is only cut and pasted: L{openclaw.config.edit_tokens} tells where its tokens are, and whatever an edit does
not concern stays as it is, byte for byte.  Every result is read again and must say what was asked for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pyjson5

from openclaw.config.edit_tokens import Token, tokens_of, unlike
from openclaw.config.environment import MAX_DEPTH
from openclaw.errors import OpenClawError
from openclaw.wire import LONE_SURROGATE

MAX_LINE = 100
"""A list of plain values that fits into this many characters is written on one line."""

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_CLOSING = {"{": "}", "[": "]"}


@attrs.frozen
class _Member:
    """
    A member of an object or an item of a list.

    @ivar key: its name, or its place in the list.
    @ivar start: where it begins, the key included.
    @ivar comma: where the comma after it stands, or C{None}.
    """

    key: str
    start: int
    value: _Node
    comma: int | None


@attrs.frozen
class _Node:
    """
    A value in the text.

    @ivar kind: C{object}, C{list} or C{plain}.
    """

    kind: str
    start: int
    end: int
    members: tuple[_Member, ...] = ()


@attrs.frozen
class _Style:
    """
    How a text is laid out.

    @ivar unquoted: keys that are identifiers have no quotes.
    @ivar trailing: the last member of an object on several lines has a comma.
    """

    indent: str
    newline: str
    unquoted: bool
    trailing: bool


_Cut = tuple[int, int, str]
"""From, to, and what takes the place."""


def rewritten(text: str, document: Any) -> str:
    """
    Change a text so that it says a document.

    @param text: JSON5 with an object at the top.
    @return: C{text} itself if it says it already.
    @raise OpenClawError: if the text cannot be edited, as its reader and its editor do not see it alike; with line and
        column.
    """
    before = _decoded(text)
    if _same(before, document):
        return text
    kept = _without_added(before, document)
    result = text
    # each looks through the whole text, which may be long
    if not _same(before, kept):
        result = _apply(result, before, lambda editing: editing.changes(editing.root, before, kept))
    if not _same(kept, document):
        result = _apply(result, kept, lambda editing: editing.additions(editing.root, kept, document))
    if not _same(_decoded(result), document):
        raise OpenClawError("this file cannot be edited without losing something; change it by hand")
    return result


def _decoded(text: str) -> Any:
    try:
        return pyjson5.decode(text, maxdepth=MAX_DEPTH)
    except pyjson5.Json5DecoderException as error:
        raise OpenClawError(f"this file cannot be edited ({error.args[0]}); change it by hand") from None


def _same(one: Any, other: Any) -> bool:
    """Whether two documents are equal, C{true} and C{1} told apart, and the order of keys ignored."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _without_added(before: Any, after: Any) -> Any:
    """What remains of C{before} when everything that C{after} adds to its objects and lists is left for later."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key: _without_added(value, after[key]) for key, value in before.items() if key in after}
    if isinstance(before, list) and isinstance(after, list):
        if _removed_items(before, after) is not None:
            return after
        return [_without_added(old, new) for old, new in zip(before, after, strict=False)]
    return after


def _removed_items(before: list[Any], after: list[Any]) -> frozenset[int] | None:
    """The places of the items that a shorter list lacks, if the others are as they were."""
    if len(after) >= len(before):
        return None
    removed = []
    wanted = iter(after)
    want: Any = next(wanted, _NOTHING)
    for place, item in enumerate(before):
        if want is not _NOTHING and _same(item, want):
            want = next(wanted, _NOTHING)
        else:
            removed.append(place)
    return frozenset(removed) if want is _NOTHING else None


_NOTHING = object()


# ---------------------------------------------------------------------------------------- rendering


def _quoted(text: str) -> str:
    if LONE_SURROGATE.search(text):
        raise OpenClawError("a text with half a surrogate pair, which is no character, cannot be written")
    return json.dumps(text, ensure_ascii=False)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return json.dumps(value)


def _key(key: str, style: _Style) -> str:
    return key if style.unquoted and _IDENTIFIER.fullmatch(key) else _quoted(key)


def _on_one_line(value: Any, style: _Style) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key, style)}: {_on_one_line(item, style)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_on_one_line(item, style) for item in value)}]"
    return _plain(value)


def _rendered(value: Any, style: _Style, indent: str) -> str:
    """A value as text; C{indent} is that of the line on which it begins."""
    if not isinstance(value, dict | list) or not value:
        return _on_one_line(value, style)
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        line = _on_one_line(value, style)
        if len(line) + len(indent) <= MAX_LINE:
            return line
    below = indent + style.indent
    if isinstance(value, dict):
        parts = [f"{_key(key, style)}: {_rendered(item, style, below)}" for key, item in value.items()]
    else:
        parts = [_rendered(item, style, below) for item in value]
    comma = "," if style.trailing else ""
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    inside = f",{style.newline}".join(f"{below}{part}" for part in parts)
    return f"{opening}{style.newline}{inside}{comma}{style.newline}{indent}{closing}"


# ---------------------------------------------------------------------------------------- reading


class _Reader:
    """Makes nodes of the tokens of a text that is known to be JSON5; every step of it takes a token."""

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self._text = text
        self._tokens = [token for token in tokens if token.kind != "comment"]
        self._at = 0

    def read(self) -> _Node:
        """
        The value at the top.

        @raise OpenClawError: if this is no JSON5 as the tokens tell it.
        """
        root = self._value()
        if self._at != len(self._tokens):
            raise unlike(self._text, self._tokens[self._at].start)
        return root

    def _is(self, kind: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].kind == kind

    def _take(self, *kinds: str) -> Token:
        if self._at == len(self._tokens):
            raise unlike(self._text, len(self._text))
        token = self._tokens[self._at]
        if token.kind not in kinds:
            raise unlike(self._text, token.start)
        self._at += 1
        return token

    def _value(self) -> _Node:
        first = self._take("{", "[", "string", "word")
        closing = _CLOSING.get(first.kind)
        if closing is None:
            return _Node("plain", first.start, first.end)
        members: list[_Member] = []
        while not self._is(closing):
            members.append(self._member(closing == "}", len(members)))
            if members[-1].comma is None:
                break
        end = self._take(closing).end
        return _Node("object" if closing == "}" else "list", first.start, end, tuple(members))

    def _member(self, named: bool, place: int) -> _Member:
        start: int | None = None
        key = str(place)
        if named:
            name = self._take("string", "word")
            start, key = name.start, self._name(name)
            self._take(":")
        value = self._value()
        comma = self._take(",").start if self._is(",") else None
        return _Member(key, value.start if start is None else start, value, comma)

    def _name(self, token: Token) -> str:
        written = self._text[token.start : token.end]
        try:
            if token.kind == "string":
                return str(pyjson5.decode(written))
            # the name of a member may be spelt with escapes
            (name,) = pyjson5.decode(f"{{{written}: 0}}")
        except (pyjson5.Json5DecoderException, ValueError):
            raise unlike(self._text, token.start) from None
        return str(name)


def _check_shape(text: str, node: _Node, value: Any) -> None:
    """
    See that a text has the members that the reader of the configuration found in it.

    @raise OpenClawError: if it has others.
    """
    if node.kind == "object":
        alike = isinstance(value, dict) and {member.key for member in node.members} == value.keys()
    elif node.kind == "list":
        alike = isinstance(value, list) and len(node.members) == len(value)
    else:
        alike = not isinstance(value, dict | list)
    if not alike:
        raise unlike(text, node.start)
    last = {member.key: member for member in node.members}  # of a name that is there twice the last counts
    for key, member in last.items():
        _check_shape(text, member.value, value[int(key) if node.kind == "list" else key])


def _style_of(text: str, root: _Node) -> _Style:
    nodes = list(_objects(root))
    members = [member for node in nodes for member in node.members]
    unquoted = any(text[member.start] not in "\"'" for member in members)
    spread = [node for node in nodes if node.members and "\n" in text[node.start : node.members[0].start]]
    trailing = any(node.members[-1].comma is not None for node in spread)
    indent = "  "
    for node in spread:
        outer, inner = _indent_at(text, node.start), _indent_at(text, node.members[0].start)
        if inner.startswith(outer) and inner != outer:
            indent = inner[len(outer) :]
            break
    return _Style(indent, "\r\n" if "\r\n" in text else "\n", unquoted, trailing)


def _objects(node: _Node) -> Iterator[_Node]:
    if node.kind == "object":
        yield node
    for member in node.members:
        yield from _objects(member.value)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _indent_at(text: str, at: int) -> str:
    """The blanks at the beginning of the line of a place."""
    start = end = _line_start(text, at)
    while text[end : end + 1] in (" ", "\t"):
        end += 1
    return text[start:end]


# ---------------------------------------------------------------------------------------- cutting


def _apply(text: str, document: Any, cuts_of: Any) -> str:
    cuts: list[_Cut] = sorted(cuts_of(_Editing(text, document)), reverse=True)
    for start, end, new in cuts:
        text = text[:start] + new + text[end:]
    return text


class _Editing:
    """What has to be cut out of a text, and pasted into it."""

    def __init__(self, text: str, document: Any) -> None:
        self._text = text
        tokens = tokens_of(text)
        self._comments = {token.start: token for token in tokens if token.kind == "comment"}
        self.root = _Reader(text, tokens).read()
        _check_shape(text, self.root, document)
        self._style = _style_of(text, self.root)

    def changes(self, node: _Node, before: Any, after: Any, *, inline: bool = False) -> Iterator[_Cut]:
        """Values that differ, and members that are gone; nothing that is new."""
        if _same(before, after):
            return
        inline = inline or not self._is_spread(node)
        if node.kind == "object" and isinstance(before, dict) and isinstance(after, dict):
            yield from self._removals(node, [member.key not in after for member in node.members])
            for key, member in {member.key: member for member in node.members}.items():
                if key in after:
                    yield from self.changes(member.value, before[key], after[key], inline=inline)
        elif node.kind == "list" and isinstance(before, list) and isinstance(after, list):
            removed = _removed_items(before, after)
            if removed is not None:
                yield from self._removals(node, [place in removed for place in range(len(before))])
                return
            yield from self._removals(node, [place >= len(after) for place in range(len(before))])
            for member, old, new in zip(node.members, before, after, strict=False):
                yield from self.changes(member.value, old, new, inline=inline)
        else:
            alone = inline and node is not self.root and self._is_inside_line(node)
            if alone:
                yield node.start, node.end, _on_one_line(after, self._style)
            else:
                yield node.start, node.end, _rendered(after, self._style, _indent_at(self._text, node.start))

    def additions(self, node: _Node, before: Any, after: Any) -> Iterator[_Cut]:
        """Members and items that are new."""
        if isinstance(before, dict) and isinstance(after, dict):
            new = [(key, value) for key, value in after.items() if key not in before]
            for key, member in {member.key: member for member in node.members}.items():
                yield from self.additions(member.value, before[key], after[key])
        elif isinstance(before, list) and isinstance(after, list):
            new = [("", value) for value in after[len(before) :]]
            for member, old, now in zip(node.members, before, after, strict=False):
                yield from self.additions(member.value, old, now)
        else:
            return
        if new:
            yield from self._inserted(node, new)

    def _is_spread(self, node: _Node) -> bool:
        """Whether the members stand on lines of their own."""
        return not node.members or "\n" in self._text[node.start : node.members[0].start]

    def _is_inside_line(self, node: _Node) -> bool:
        """Whether something besides its key stands before a value on its line: it is part of a longer line."""
        before = self._text[_line_start(self._text, node.start) : node.start]
        return "{" in before or "[" in before or "," in before

    def _removals(self, node: _Node, gone: Sequence[bool]) -> Iterator[_Cut]:
        kept_last: _Member | None = None
        done = 0
        for index, (member, is_gone) in enumerate(zip(node.members, gone, strict=True)):
            if not is_gone:
                kept_last = member
                continue
            last = index == len(node.members) - 1
            start, end, _ = self._without(member, last=last)
            # two neighbours may both claim the blanks between them
            yield max(start, done), end, ""
            done = end
        bare_end = bool(gone) and gone[-1] and node.members[-1].comma is None
        if bare_end and kept_last is not None and kept_last.comma is not None:
            # the text has no comma after its last members, and may be read by what knows JSON only
            yield kept_last.comma, kept_last.comma + 1, ""

    def _without(self, member: _Member, *, last: bool) -> _Cut:
        """The cut that takes a member out, with its comma and the comment that follows it on its line."""
        text = self._text
        line = _line_start(text, member.start)
        first_on_line = not text[line : member.start].strip(" \t")
        end = member.value.end if member.comma is None else member.comma + 1
        tail = self._tail(end)
        at_line_end = text[tail : tail + 2] == "\r\n" or text[tail : tail + 1] in ("\n", "")
        if first_on_line and at_line_end:
            newline = 2 if text[tail : tail + 2] == "\r\n" else 1
            return line, tail + newline, ""
        if last or at_line_end:
            # what stands before goes to the end of its own line or to the closing bracket
            start = member.start
            while text[start - 1] in " \t" and not first_on_line:
                start -= 1
            return start, end, ""
        while text[end] in " \t":
            end += 1
        return member.start, end, ""

    def _tail(self, at: int) -> int:
        """The end of what belongs to a member on its line: blanks, and a comment with nothing after it."""
        end = at
        while end < len(self._text) and self._text[end] in " \t":
            end += 1
        token = self._comments.get(end)
        if token is not None:
            stop = token.start + len(self._text[token.start : token.end].rstrip("\r"))
            after = stop
            while after < len(self._text) and self._text[after] in " \t":
                after += 1
            if self._text[after : after + 1] in ("\n", "\r", ""):
                return after
        return end if self._text[end : end + 1] in ("\n", "\r", "") else at

    def _inserted(self, node: _Node, new: Sequence[tuple[str, Any]]) -> Iterator[_Cut]:
        """The cuts that add members at the end of an object or a list."""
        style = self._style
        if not node.members:
            yield self._filled(node, new)
            return
        last = node.members[-1]
        if not self._is_spread(node):
            parts = [self._entry(key, _on_one_line(value, style), node) for key, value in new]
            joined = "".join(f", {part}" for part in parts)
            if last.comma is None:
                yield last.value.end, last.value.end, joined
            else:
                yield last.comma + 1, last.comma + 1, f"{joined[1:]},"
            return
        indent = _indent_at(self._text, last.start)
        parts = [self._entry(key, _rendered(value, style, indent), node) for key, value in new]
        lines = ",".join(f"{style.newline}{indent}{part}" for part in parts)
        if last.comma is not None:
            at = self._tail(last.comma + 1)
            yield at, at, f"{lines},"
            return
        # the comma that is missing goes before the comment that may follow
        end, at = last.value.end, self._tail(last.value.end)
        yield end, at, f",{self._text[end:at]}{lines}"

    def _filled(self, node: _Node, new: Sequence[tuple[str, Any]]) -> _Cut:
        """The cut that gives an empty object or list its first members."""
        style, text = self._style, self._text
        outer = _indent_at(text, node.start)
        indent = outer + style.indent
        parts = [self._entry(key, _rendered(value, style, indent), node) for key, value in new]
        comma = "," if style.trailing else ""
        lines = f",{style.newline}".join(f"{indent}{part}" for part in parts) + comma
        closing = node.end - 1
        if not text[node.start + 1 : closing].strip():
            return node.start + 1, closing, f"{style.newline}{lines}{style.newline}{outer}"
        line = _line_start(text, closing)
        if line > node.start and not text[line:closing].strip():
            return line, line, f"{lines}{style.newline}"
        return closing, closing, f"{style.newline}{lines}{style.newline}{outer}"

    def _entry(self, key: str, value: str, node: _Node) -> str:
        return f"{_key(key, self._style)}: {value}" if node.kind == "object" else value
